//! The command line: raw flags only, with the help that people read.
//!
//! The only place that knows how flags are parsed. Groups of flags become plain options here; no file is opened but the one of categories,
//! for the models that it is about.

mod calibrate;
mod cascade;
mod cluster;
mod export;
mod gallery;
mod judge;
mod models;
mod parse;
mod serve;
mod shared;
mod teach;
mod tune;
mod units;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use picsift_udf::OnError;
use picsift_vision::store::LEAST_BYTES;

pub use calibrate::CalibrateArgs;
pub use cascade::{CascadeArgs, PromiseArgs};
pub use cluster::{
    ClusterArgs, ClusterCommand, ClusterCommandArgs, DoorArgs, ExecutorArgs, SchedulerArgs,
};
pub use export::ExportArgs;
pub use gallery::GalleryArgs;
pub use judge::{EvalArgs, ReportForm, SampleArgs};
pub use models::{ModelsArgs, ModelsCommand};
pub use parse::Refused;
pub use serve::{QuotaArgs, ServeArgs, TokenArgs};
pub use shared::{
    CacheArgs, CategoryArgs, FetchArgs, GenerationArgs, LimitArgs, ModelArgs, TruthArgs,
};
pub use teach::{TeachArgs, TeachForm};
pub use tune::TuneArgs;
pub use units::{PublishArgs, ShareArgs, StatusArgs, StatusForm};

use crate::label::options::SHARD_ROWS;
use shared::{CACHE_BYTES, at_least};

/// Label images with SQL.
#[derive(Debug, Parser)]
#[command(
    name = "picsift",
    version,
    about,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print results and errors only: no notes, no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Logs, which are for finding out what a program did; what a person should know is said without them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// Log to standard error what is at least this important: error, warn, info, debug, trace, or directives such as
    /// picsift_images=debug,info [default: PICSIFT_LOG, else nothing]
    #[arg(long, hide_short_help = true, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Form of the logs
    #[arg(
        long,
        hide_short_help = true,
        default_value = "text",
        value_name = "FORMAT",
        global = true
    )]
    pub log_format: LogFormat,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for a person
    Text,
    /// A JSON object a line
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Label pictures, those of a folder or of a table, and write a table with the labels
    Label(Box<LabelArgs>),
    /// Say how far the work on an output is: units done, under way and failed, images a second, time left
    Status(StatusArgs),
    /// Publish an output whose units several programs have labelled
    Publish(PublishArgs),
    /// Run SQL over tables and images, from a query, a file or a shell
    Sql(SqlArgs),
    /// Judge the labels of a table: precision, recall and more against the truth, thresholds, worst mistakes
    Eval(EvalArgs),
    /// Draw a small table to annotate, with weights by which `eval` judges the whole one
    Sample(SampleArgs),
    /// Teach categories from truth or corrections, into a file of heads that `label` and SQL answer by
    Teach(Box<TeachArgs>),
    /// Find out from which scores on a cheap model may answer for a dear one, for queries
    Calibrate(Box<CalibrateArgs>),
    /// Try models, wordings, thresholds and cascades on rows with truth: what is best for how many seconds per thousand images
    Tune(Box<TuneArgs>),
    /// Make static pages of a labelled table, to look at its pictures and correct them
    Gallery(Box<GalleryArgs>),
    /// Write a labelled table as a data set to train on: WebDataset, folders of classes, or Hugging Face Parquet
    Export(Box<ExportArgs>),
    /// Serve SQL and labels to many clients, by Arrow Flight SQL and JSON
    Serve(Box<ServeArgs>),
    /// Make a token that lets a client ask a server
    Token(TokenArgs),
    /// Run the programs of a cluster: a scheduler, and executors that label and run queries on many machines
    Cluster(ClusterCommandArgs),
    /// Label image files and print one JSON object for each
    Image(ImageArgs),
    /// List, show, fetch and verify models
    Models(ModelsArgs),
    /// Show, verify and remove the answers that are kept on this machine
    Cache(CacheCommandArgs),
    /// Print which settings hold, and from where: flags, picsift.toml here, picsift.toml of the user
    #[command(after_help = CONFIG_HELP)]
    Config,
    /// Look at this machine: processor, GPU, memory, cache, models, hub; and say what to do
    Doctor,
    /// Print what makes a shell complete picsift's commands and flags
    Completions(CompletionsArgs),
    /// Print the manual page of the program or of a command
    Man(ManArgs),
}

/// What a file of settings may say.
const CONFIG_HELP: &str = "\
picsift.toml, in the folder that picsift is run in or in ~/.config/picsift (XDG_CONFIG_HOME):
  model = \"siglip2\"             as --model
  device = \"cpu\"                as --device
  cache = \"/data/answers\"       as --cache-dir, in your own file alone; PICSIFT_CACHE wins over it
  categories_file = \"pets.toml\" as --categories-file, where no categories are named
Paths are relative to the file.";

/// `picsift man`.
#[derive(Debug, Args)]
#[command(
    after_help = "picsift man | man -l -                            read it\n\
                  picsift man label | man -l -                      of one command\n\
                  picsift man --output ~/.local/share/man/man1      man picsift and man picsift-label from then on"
)]
pub struct ManArgs {
    /// The command [default: the program]
    #[arg(conflicts_with = "output")]
    pub command: Option<String>,
    /// Write all pages into this folder
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `picsift completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "bash: picsift completions bash > ~/.local/share/bash-completion/completions/picsift\n\
                  zsh:  picsift completions zsh > a folder of $fpath, as _picsift\n\
                  fish: picsift completions fish > ~/.config/fish/completions/picsift.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `picsift cache`.
#[derive(Debug, Args)]
pub struct CacheCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
    /// Folder of the answers [default: PICSIFT_CACHE, else ~/.cache/picsift]
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
    /// Bytes that it may take
    #[arg(long, default_value_t = CACHE_BYTES, value_parser = at_least(LEAST_BYTES), value_name = "BYTES", global = true)]
    pub cache_size: u64,
}

/// `picsift cache ...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum CacheCommand {
    /// Say how many answers there are and where
    Info,
    /// Remove all of them
    Clear,
    /// Check every one; damaged ones are removed, and the exit code is 1
    Verify,
}

/// `picsift label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// Tables (Parquet, CSV, JSON lines or arrays, folders that datasets.save_to_disk made) or pictures: files, folders or globs; local,
    /// or URLs of file://, s3://, gs://, az:// or http(s)://
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Folder that gets the labelled table, here or as s3://, gs:// or az:// URL. Run the same command again to go on with a
    /// job that was stopped
    #[arg(long, short, value_name = "DIR", help_heading = "Output")]
    pub output: String,
    /// Categories to ask for.
    #[command(flatten)]
    pub categories: CategoryArgs,
    /// Column of the images [default: the only candidate]
    #[arg(long, value_name = "COLUMN", help_heading = "Which rows")]
    pub image: Option<String>,
    /// Column of the SHA-256 that each image must have: an image with another is a failure, one without is not checked
    #[arg(
        long,
        hide_short_help = true,
        value_name = "COLUMN",
        help_heading = "Which rows"
    )]
    pub sha256: Option<String>,
    /// Add a column 'embedding': each image as a vector of unit length, for search and for models of one's own. For a model that
    /// embeds
    #[arg(long, help_heading = "Output")]
    pub embedding: bool,
    /// Put the pictures themselves into the output, which then needs no folder beside it: the image column becomes
    /// STRUCT<bytes, path>, as Hugging Face datasets has images
    #[arg(long, help_heading = "Output")]
    pub embed: bool,
    /// Keep or drop the image column in the output
    #[arg(
        long,
        hide_short_help = true,
        default_value = "keep",
        value_name = "WHAT",
        help_heading = "Output"
    )]
    pub image_column: ImageColumn,
    /// Label only rows for which this SQL predicate holds
    #[arg(long = "where", value_name = "PREDICATE", help_heading = "Which rows")]
    pub predicate: Option<String>,
    /// Label at most this many rows
    #[arg(long, value_name = "ROWS", help_heading = "Which rows")]
    pub limit: Option<usize>,
    /// Columns whose values become folders: input columns or 'label'
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "COLUMN,...",
        help_heading = "Output"
    )]
    pub partition_by: Vec<String>,
    /// What an image that cannot be read does: null labels, or fail to stop the job
    #[arg(long, hide_short_help = true, default_value_t = OnError::Null, value_name = "WHAT", help_heading = "Going on with a job")]
    pub on_error: OnError,
    /// Replace the output of an earlier run, or give up an unfinished one of another command
    #[arg(long, help_heading = "Going on with a job")]
    pub overwrite: bool,
    /// Label only files that are new in the input since the output was made, and add their rows to it
    #[arg(long, conflicts_with_all = ["overwrite", "retry_failed"], help_heading = "Going on with a job")]
    pub incremental: bool,
    /// Ask again only for the images of the output that failed
    #[arg(
        long,
        conflicts_with = "overwrite",
        help_heading = "Going on with a job"
    )]
    pub retry_failed: bool,
    /// Stop when more than this share of the images fails, 0 to 1, judged from 100 images on and at the end; what is done is kept
    #[arg(long, hide_short_help = true, value_parser = share, value_name = "RATIO", help_heading = "Going on with a job")]
    pub max_error_ratio: Option<f64>,
    /// Rows that are written together and remembered: what a job that is killed does again, and what a file of the output holds
    /// at least
    #[arg(long, hide_short_help = true, default_value_t = SHARD_ROWS, value_name = "ROWS", help_heading = "Output")]
    pub shard_rows: NonZeroUsize,
    /// Corrections that people made (Parquet, CSV or JSON lines with key, category and is): they win over the model, and the column
    /// label_source says so
    #[arg(long, value_name = "FILE", help_heading = "What is asked")]
    pub corrections: Option<String>,
    /// Stop after asking the model about this many images; what is done by then is published as a partial result
    #[arg(
        long,
        hide_short_help = true,
        value_name = "IMAGES",
        help_heading = "Going on with a job"
    )]
    pub max_images: Option<u64>,
    /// Stop this many seconds after the first image; what is done by then is published as a partial result
    #[arg(long, hide_short_help = true, value_parser = seconds, value_name = "SECONDS", help_heading = "Going on with a job")]
    pub max_seconds: Option<Duration>,
    /// Check everything and say what would be done, without doing it
    #[arg(long, help_heading = "Going on with a job")]
    pub dry_run: bool,
    /// As --dry-run, and ask about a few images of each table to say how long it will take
    #[arg(long, help_heading = "Going on with a job")]
    pub estimate: bool,
    /// How progress is shown on standard error
    #[arg(
        long,
        hide_short_help = true,
        default_value = "auto",
        value_name = "FORM",
        help_heading = "What is printed"
    )]
    pub progress: ProgressForm,
    /// Form of the summary
    #[arg(
        long,
        hide_short_help = true,
        default_value = "text",
        value_name = "FORM",
        help_heading = "What is printed"
    )]
    pub summary: SummaryForm,
    /// The model and how it is loaded.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Limits on one image.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What is kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What references may reach.
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Which model answers for it.
    #[command(flatten)]
    pub cascade: CascadeArgs,
    /// Whether others label the same output.
    #[command(flatten)]
    pub share: ShareArgs,
    /// Whether a cluster labels it.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressForm {
    /// A bar on a terminal, lines elsewhere
    Auto,
    /// A bar
    Bar,
    /// A line every five seconds
    Plain,
    /// A JSON object a line, every second
    Json,
    /// Nothing
    None,
}

/// `--summary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryForm {
    /// For a person
    Text,
    /// A JSON object
    Json,
}

/// `--image-column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImageColumn {
    /// The output has the images.
    Keep,
    /// The output has every column but the images.
    Drop,
}

/// `picsift sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Queries to run, as with --command; a shell where there is none
    #[arg(value_name = "QUERY", conflicts_with_all = ["command", "file"])]
    pub queries: Vec<String>,
    /// Run this query and end; may be given several times
    #[arg(long, short, value_name = "QUERY", conflicts_with = "file")]
    pub command: Vec<String>,
    /// Run the statements of this file and end
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Form of the results
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub format: Format,
    /// With --format csv: put a ' before texts that a spreadsheet would take for formulas
    #[arg(long, hide_short_help = true)]
    pub csv_safe: bool,
    /// File that `picsift teach` wrote: its categories are answered by what was taught
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
    /// Corrections that people made (Parquet, CSV or JSON lines with key, category and is): they win over the model
    #[arg(long, value_name = "FILE")]
    pub corrections: Option<String>,
    /// Do not run queries: ask about a few images of each and say how many it will ask and how long that will take
    #[arg(long)]
    pub estimate: bool,
    /// The model and how it is loaded.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Limits on one image.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What is kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What references may reach.
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Whether a cluster runs queries.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For reading; long results are cut
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Json,
    /// A Parquet file on standard output
    Parquet,
}

/// `picsift image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Image files, folders of them, or URLs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<OsString>,
    /// Categories to ask for.
    #[command(flatten)]
    pub categories: CategoryArgs,
    /// Question to answer in words, for a model that can talk
    #[arg(long, value_name = "QUESTION")]
    pub ask: Option<String>,
    /// How it is answered.
    #[command(flatten)]
    pub generation: GenerationArgs,
    /// The model and how it is loaded.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Limits on one image.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What is kept.
    #[command(flatten)]
    pub cache: CacheArgs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::try_from_secs_f64);
    match seconds {
        Ok(Ok(time)) => Ok(time),
        _ => Err("it must be a number of seconds".to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
