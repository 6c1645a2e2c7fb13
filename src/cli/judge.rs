//! Flags of the commands that judge labels.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::TruthArgs;
use crate::sample::LEAST;
use crate::sample::strata::By;

/// `picsift eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Outputs of `picsift label`, or tables with columns is_... and score_...
    #[arg(required = true, value_name = "LABELLED")]
    pub inputs: Vec<String>,
    /// Look for better thresholds: the best F1, or what the next two say
    #[arg(long)]
    pub sweep: bool,
    /// Of thresholds with this precision, 0 to 1, the one with the most recall
    #[arg(long, requires = "sweep", conflicts_with = "min_recall", value_parser = super::share, value_name = "SHARE")]
    pub min_precision: Option<f64>,
    /// Of thresholds with this recall, 0 to 1, the one with the most precision
    #[arg(long, requires = "sweep", value_parser = super::share, value_name = "SHARE")]
    pub min_recall: Option<f64>,
    /// Write the thresholds that were found into this categories file, which `label` takes; the rest of it stays
    #[arg(long, requires = "sweep", value_name = "FILE")]
    pub categories_file: Option<PathBuf>,
    /// Worst mistakes shown for each category
    #[arg(long, default_value_t = 3, value_name = "ROWS")]
    pub mistakes: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Form of the report
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub format: ReportForm,
    /// What is true.
    #[command(flatten)]
    pub truth: TruthArgs,
}

/// `--format` of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// For the terminal
    Table,
    /// For a program: every digit, `null` for what is undefined
    Json,
    /// For a model's or data set's card
    Markdown,
}

/// `picsift sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// Outputs of `picsift label`, or tables with columns is_... and score_...
    #[arg(required = true, value_name = "LABELLED")]
    pub inputs: Vec<String>,
    /// Parquet file that gets the sample: the table's columns, picsift_weight, and an empty truth_... for each category
    #[arg(long, short, value_name = "FILE")]
    pub output: String,
    /// Rows to draw for each category; a row may serve several
    #[arg(long, default_value_t = 50, value_parser = super::shared::at_least(LEAST), value_name = "ROWS")]
    pub per_category: u64,
    /// Which rows are drawn more often; the weights make up for it
    #[arg(long, default_value = "uncertainty", value_name = "WHAT")]
    pub by: SampleBy,
    /// Seed of the draw
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Replace the output file
    #[arg(long)]
    pub overwrite: bool,
}

/// `--by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SampleBy {
    /// Rows whose score is near the threshold more often than others
    Uncertainty,
    /// Every row alike
    Random,
    /// Every tenth of the scores, yes and no apart, as often as every other
    Stratified,
}

impl From<SampleBy> for By {
    fn from(by: SampleBy) -> Self {
        match by {
            SampleBy::Uncertainty => Self::Uncertainty,
            SampleBy::Random => Self::Random,
            SampleBy::Stratified => Self::Stratified,
        }
    }
}
