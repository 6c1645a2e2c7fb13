//! Flags of `picsift calibrate`.

use clap::Args;

use super::{CacheArgs, CategoryArgs, FetchArgs, LimitArgs, ModelArgs, PromiseArgs, SummaryForm};

/// `picsift calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// The table that is sampled: Parquet files, folders of them or of pictures, or globs; local, or URLs
    #[arg(required = true, value_name = "TABLE")]
    pub inputs: Vec<String>,
    /// File that gets the thresholds, for SET picsift.cascade
    #[arg(long, short, value_name = "FILE")]
    pub output: String,
    /// The cheaper model that is to answer where it is sure enough; --model is asked the rest
    #[arg(long, value_name = "MODEL")]
    pub cascade: String,
    /// Categories to ask for.
    #[command(flatten)]
    pub categories: CategoryArgs,
    /// What is promised.
    #[command(flatten)]
    pub promise: PromiseArgs,
    /// Column of the images [default: the only candidate]
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,
    /// Sample only rows for which this SQL predicate holds
    #[arg(long = "where", value_name = "PREDICATE")]
    pub predicate: Option<String>,
    /// Seed of the sample
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Replace the output file
    #[arg(long)]
    pub overwrite: bool,
    /// Form of the report
    #[arg(long, default_value = "text", value_name = "FORM")]
    pub summary: SummaryForm,
    /// The dear model and how it is loaded.
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
