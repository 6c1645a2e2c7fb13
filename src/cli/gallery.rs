//! Flags of `picsift gallery`.

use clap::Args;

use super::{FetchArgs, LimitArgs, TruthArgs};

/// `picsift gallery`.
#[derive(Debug, Args)]
pub struct GalleryArgs {
    /// Output of `picsift label`, or a table with columns is_... and score_...; none shows the gallery that is there, with --serve
    #[arg(value_name = "LABELLED")]
    pub inputs: Vec<String>,
    /// Folder that gets the pages
    #[arg(long, short, value_name = "DIR")]
    pub output: String,
    /// Replace an earlier gallery; what was corrected in it with --serve stays
    #[arg(long)]
    pub overwrite: bool,
    /// What the pages are headed [default: the table]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Column of the images [default: the one that was labelled]
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to [default: that of the table that was labelled, if this one lies in it or
    /// you labelled it on this machine]
    #[arg(long, value_name = "PLACE")]
    pub base: Option<String>,
    /// Show at most this many rows
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<usize>,
    /// Make larger copies too, of at most 1024 pixels [default: up to 2,000 rows]
    #[arg(long, conflicts_with = "no_pictures")]
    pub pictures: bool,
    /// Make thumbnails alone
    #[arg(long)]
    pub no_pictures: bool,
    /// Show the gallery on this machine and keep corrections in its folder, until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// Port for --serve [default: any that is free]
    #[arg(
        long,
        requires = "serve",
        default_value_t = 0,
        hide_default_value = true,
        value_name = "PORT"
    )]
    pub port: u16,
    /// What is true, if its figures shall stand beside the pictures, and disagreement be looked for.
    #[command(flatten)]
    pub truth: TruthArgs,
    /// Limits on one image.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What references may reach.
    #[command(flatten)]
    pub fetch: FetchArgs,
}
