//! Flags of `picsift teach`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CacheArgs, FetchArgs, LimitArgs, ModelArgs};

/// `picsift teach`.
#[derive(Debug, Args)]
pub struct TeachArgs {
    /// Outputs of `picsift label`, or any tables with images
    #[arg(required = true, value_name = "LABELLED")]
    pub inputs: Vec<String>,
    /// File that gets what was learnt
    #[arg(long, short, value_name = "FILE")]
    pub output: String,
    /// What is true: a column of labels (one as text, or a list), a BOOLEAN column or one of numbers from 0 to 1 for a single category,
    /// CATEGORY=COLUMN, or a pattern such as truth_{}; may be given several times. A column picsift_weight says what each row stands for
    #[arg(
        long = "truth",
        value_name = "COLUMN",
        required_unless_present = "corrections",
        conflicts_with = "corrections"
    )]
    pub truth: Vec<String>,
    /// Corrections that people made (Parquet, CSV or JSON lines with key, category and is): the images that they are about are taught
    #[arg(long, value_name = "FILE")]
    pub corrections: Option<String>,
    /// Categories to teach [default: those of the table that have a truth, or of the corrections]
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub categories: Vec<String>,
    /// TOML file of categories to teach; its nouns and templates are what the model goes by itself
    #[arg(long, value_name = "FILE")]
    pub categories_file: Option<PathBuf>,
    /// Replace the output file
    #[arg(long)]
    pub overwrite: bool,
    /// Column of the images [default: the one that was labelled, or the only candidate]
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to [default: that of the table that was labelled, if this one lies in it or
    /// you labelled it on this machine]
    #[arg(long, value_name = "PLACE")]
    pub base: Option<String>,
    /// Seed of intervals, and of the rows that judge where there are many
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Form of the report
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub format: TeachForm,
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
}

/// `--format` of what was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TeachForm {
    /// For the terminal
    Table,
    /// For a program: every digit, `null` for what is undefined
    Json,
}
