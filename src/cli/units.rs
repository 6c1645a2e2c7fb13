//! Flags of jobs that several programs do together.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::SummaryForm;
use crate::label::shared::{Part, Share};

/// Seconds of a lease unless they are set.
const LEASE: &str = "60";

/// Flags that mean one program.
const ALONE: [&str; 5] = [
    "overwrite",
    "incremental",
    "retry_failed",
    "max_images",
    "max_seconds",
];

/// Whether others label the same output.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several programs, one output")]
pub struct ShareArgs {
    /// Label this part of the input, 3/16 for the third of sixteen; other programs, here or on other machines, label the others by the
    /// same command. Whichever is last publishes
    #[arg(long, hide_short_help = true, value_parser = part, group = "sharing", conflicts_with_all = ALONE, value_name = "PART/PARTS")]
    pub shard: Option<Part>,
    /// Label whatever part of the input nobody is at, until none is left; any number of programs, which may come and go
    #[arg(long, hide_short_help = true, group = "sharing", conflicts_with_all = ALONE)]
    pub workers_share: bool,
    /// Seconds without a sign of life after which the part that a program is at is taken over by another
    #[arg(long, hide_short_help = true, default_value = LEASE, value_parser = lease, requires = "sharing", value_name = "SECONDS")]
    pub lease: Duration,
}

impl ShareArgs {
    /// How the program takes part; `None` where it labels alone.
    pub fn share(&self) -> Option<Share> {
        let part = match self.workers_share {
            true => Some(Part::Free),
            false => self.shard,
        };
        part.map(|part| Share {
            part,
            lease: self.lease,
        })
    }
}

fn part(text: &str) -> Result<Part, String> {
    let numbers = text.split_once('/');
    let numbers = numbers.and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    match numbers {
        Some((number, of)) if number >= 1 && number <= of => Ok(Part::Shard { number, of }),
        _ => Err("it must be a part and how many there are, from 1/16 to 16/16".to_string()),
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(time)) if time >= Duration::from_secs(1) && time <= Duration::from_secs(86_400) => {
            Ok(time)
        }
        _ => Err("it must be a number of seconds from 1 to 86400".to_string()),
    }
}

/// `picsift status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Folder of the output, here or as s3://, gs:// or az:// URL
    #[arg(value_name = "OUTPUT")]
    pub output: String,
    /// Form of the answer
    #[arg(long, default_value = "text", value_name = "FORM")]
    pub format: StatusForm,
}

/// `--format` of `picsift status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusForm {
    /// For a person
    Text,
    /// A JSON object
    Json,
}

/// `picsift publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Folder of the output, here or as s3://, gs:// or az:// URL
    #[arg(value_name = "OUTPUT")]
    pub output: String,
    /// Form of the summary
    #[arg(long, default_value = "text", value_name = "FORM")]
    pub summary: SummaryForm,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn parts_are_counted_from_one_and_a_lease_is_of_something() {
        assert_eq!(part("3/16"), Ok(Part::Shard { number: 3, of: 16 }));
        let parsed = |more: &[&str]| {
            let label = ["picsift", "label", "in", "-o", "out"];
            crate::cli::Cli::try_parse_from(label.iter().chain(more)).is_ok()
        };
        assert!(parsed(&[]) && parsed(&["--shard", "1/2", "--lease", "5"]));
        assert!(!parsed(&["--lease", "5"]), "it would mean nothing");
        assert!(!parsed(&["--shard", "1/2", "--workers-share"]));
        for wrong in ["0/16", "17/16", "3", "3/", "a/b", "-1/4", "0/0"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
