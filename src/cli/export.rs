//! Flags of `picsift export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{FetchArgs, LimitArgs};
use crate::export::sinks::Form;

/// `picsift export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Outputs of `picsift label`, or tables with columns is_... and label
    #[arg(required = true, value_name = "LABELLED")]
    pub inputs: Vec<String>,
    /// Form of the data set
    #[arg(long = "format", value_name = "FORMAT")]
    pub form: ExportForm,
    /// Folder that gets it
    #[arg(long, short, value_name = "DIR")]
    pub output: String,
    /// Replace an earlier export
    #[arg(long)]
    pub overwrite: bool,
    /// Splits and their shares; the same picture is never in two of them
    #[arg(
        long,
        default_value = "train=0.8,validation=0.1,test=0.1",
        value_name = "NAME=SHARE,..."
    )]
    pub split: String,
    /// Seed of splits and of what is kept of a class
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Column of the class [default: label]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Keep pictures without a label, as a class 'unlabelled'
    #[arg(long)]
    pub keep_unlabelled: bool,
    /// Keep at most this many pictures of each class
    #[arg(long, value_name = "PICTURES")]
    pub max_per_class: Option<u64>,
    /// Keep of each class as many pictures as the smallest has
    #[arg(long, conflicts_with = "max_per_class")]
    pub balance: bool,
    /// Column of the images [default: the one that was labelled]
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to [default: that of the table that was labelled, if this one lies in it or
    /// you labelled it on this machine]
    #[arg(long, value_name = "PLACE")]
    pub base: Option<String>,
    /// What `picsift eval --format json` printed of the table, for the data set's card
    #[arg(long, value_name = "FILE")]
    pub evaluation: Option<PathBuf>,
    /// Bytes of pictures in one tar or Parquet file, about
    #[arg(long, default_value_t = 512 << 20, value_name = "BYTES")]
    pub shard_bytes: u64,
    /// Limits on one image.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What references may reach.
    #[command(flatten)]
    pub fetch: FetchArgs,
}

/// `--format` of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// Tar files of pictures, classes and JSON, to be streamed
    Webdataset,
    /// A folder of pictures for each class
    Imagefolder,
    /// Parquet that holds the pictures, for Hugging Face `datasets`
    Hf,
}

impl From<ExportForm> for Form {
    fn from(form: ExportForm) -> Self {
        match form {
            ExportForm::Webdataset => Self::Webdataset,
            ExportForm::Imagefolder => Self::Imagefolder,
            ExportForm::Hf => Self::Hf,
        }
    }
}
