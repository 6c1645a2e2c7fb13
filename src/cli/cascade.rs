//! Flags of a cheap model that answers for a dear one.

use clap::Args;
use picsift_vision::LoadOptions;

use crate::cascade::Promise;
use crate::options::{AUDIT, CONFIDENCE, CascadeOptions, ModelOptions};

/// What is promised, and how sure that is.
#[derive(Debug, Args)]
#[command(next_help_heading = "A cheap model that answers for a dear one")]
pub struct PromiseArgs {
    /// Least share of the dear model's yeses that have to be found, such as 0.95, in every category; without it all are, and the cheap
    /// model says no to nothing
    #[arg(long, hide_short_help = true, value_parser = open_share, value_name = "SHARE")]
    pub min_recall: Option<f64>,
    /// Least share of the yeses that the dear model has to agree with, in every category; without it it agrees with all, and the cheap
    /// model says yes to nothing
    #[arg(long, hide_short_help = true, value_parser = open_share, value_name = "SHARE")]
    pub min_precision: Option<f64>,
    /// Probability with which all of that holds
    #[arg(long, hide_short_help = true, default_value_t = CONFIDENCE, value_parser = open_share, value_name = "SHARE")]
    pub confidence: f64,
    /// Ask the dear model about at most this many images, those of the sample among them; where the promise takes more, that is an error
    #[arg(long, hide_short_help = true, value_name = "IMAGES")]
    pub max_asked: Option<u64>,
    /// Share of what the cheap model decides that the dear one is asked about all the same, to find out when images are no longer like
    /// those of the sample
    #[arg(long, hide_short_help = true, default_value_t = AUDIT, value_parser = share, value_name = "SHARE")]
    pub audit: f64,
}

impl PromiseArgs {
    /// The cascade with this cheap model, loaded beside a model that is loaded so.
    pub fn options(&self, cheap: &str, beside: LoadOptions, seed: u64) -> CascadeOptions {
        CascadeOptions {
            cheap: ModelOptions {
                name: cheap.to_string(),
                load: LoadOptions {
                    device: beside.device,
                    ..LoadOptions::default()
                },
            },
            promise: Promise {
                recall: self.min_recall,
                precision: self.min_precision,
            },
            confidence: self.confidence,
            max_asked: self.max_asked,
            audit: self.audit,
            seed,
        }
    }
}

/// The cheap model of `picsift label`.
#[derive(Debug, Args)]
#[command(next_help_heading = "A cheap model that answers for a dear one")]
pub struct CascadeArgs {
    /// A cheaper model that answers where it is sure enough; --model is asked the rest. It needs a promise to keep, here or in the
    /// categories file
    #[arg(long, value_name = "MODEL")]
    pub cascade: Option<String>,
    /// What is promised.
    #[command(flatten)]
    pub promise: PromiseArgs,
    /// Add a column 'answered_by': for each category cheap, dear or person
    #[arg(long, hide_short_help = true, requires = "cascade")]
    pub answered_by: bool,
}

impl CascadeArgs {
    /// What was asked for, beside a model that is loaded so.
    ///
    /// # Errors
    /// A sentence where a promise is made without a model to keep it.
    pub fn options(&self, beside: LoadOptions) -> Result<Option<CascadeOptions>, String> {
        let promise = &self.promise;
        match &self.cascade {
            Some(cheap) => Ok(Some(promise.options(cheap, beside, 0))),
            None if promise.min_recall.or(promise.min_precision).is_some()
                || promise.max_asked.is_some() =>
            {
                Err(
                    "--min-recall, --min-precision and --max-asked are about what a cheap model decides; name it with --cascade"
                        .to_string(),
                )
            }
            None => Ok(None),
        }
    }
}

fn open_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        Ok(1.0) => {
            Err("what a sample shows is never certain; leave it out, or say 0.99".to_string())
        }
        _ => Err("it must be a number between 0 and 1, such as 0.95".to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".to_string()),
    }
}
