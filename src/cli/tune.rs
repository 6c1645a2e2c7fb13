//! Flags of `picsift tune`.

use std::path::PathBuf;

use clap::Args;
use picsift_vision::DeviceChoice;

use super::{CacheArgs, FetchArgs, LimitArgs, TeachForm, TruthArgs};

/// `picsift tune`.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// Tables with images, of which a few hundred rows have a truth: Parquet files, folders of them or of pictures, or globs; local, or
    /// URLs
    #[arg(required = true, value_name = "TABLE")]
    pub inputs: Vec<String>,
    /// File that gets the categories as they are chosen, with the models that they are for: label takes it with --categories-file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<String>,
    /// Replace the output file
    #[arg(long)]
    pub overwrite: bool,
    /// Choose the best that takes at most this many seconds per thousand images [default: the best at any price]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub within: Option<f64>,
    /// Categories [default: those of the files]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NOUN,...",
        help_heading = "What is tried"
    )]
    pub categories: Vec<String>,
    /// TOML file of categories, whose wordings are tried first
    #[arg(long, value_name = "FILE", help_heading = "What is tried")]
    pub categories_file: Option<PathBuf>,
    /// File that `picsift teach` wrote: what was taught is tried beside what models know by themselves
    #[arg(long, value_name = "FILE", help_heading = "What is tried")]
    pub heads: Option<PathBuf>,
    /// TOML file of further wordings: prompts and templates in which {} stands for the category, and for each [category.NAME] its
    /// prompts, nouns and templates
    #[arg(long, value_name = "FILE", help_heading = "What is tried")]
    pub candidates: Option<PathBuf>,
    /// Models, alone and as cascades of two [default: those whose files are on this machine]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "MODEL,...",
        help_heading = "What is tried"
    )]
    pub models: Vec<String>,
    /// Where they run: auto, cpu, cuda, cuda:N or cuda:all
    #[arg(
        long,
        default_value = "auto",
        value_name = "DEVICE",
        help_heading = "What is tried"
    )]
    pub device: DeviceChoice,
    /// Show models at most this many images, all models together; those that are not asked to the end are left out, and what was answered
    /// is kept
    #[arg(long, value_name = "IMAGES", help_heading = "What is tried")]
    pub max_images: Option<u64>,
    /// What is true.
    #[command(flatten)]
    pub truth: TruthArgs,
    /// Column of the images [default: the only candidate]
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to [default: that of the table]
    #[arg(long, value_name = "PLACE")]
    pub base: Option<String>,
    /// Seed of the halves, of which one chooses and one judges, and of intervals
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Form of the report
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub format: TeachForm,
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

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds.is_finite() => Ok(seconds),
        _ => Err("it must be a number of seconds above 0".to_string()),
    }
}
