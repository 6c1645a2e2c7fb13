//! A job that has been begun or taken up again: what it holds while it runs, and what of its files counts.

use std::collections::HashSet;

use super::journal::{Journal, Mode};
use super::prepare::PreparedJob;
use crate::dataset::finished::Finished;
use crate::dataset::lease::OutputLease;
use crate::dataset::manifest::Manifest;
use crate::error::AppError;
use crate::input::files::InputFile;
use crate::input::scan;
use crate::input::select::Rows;

/// A job that has been begun or taken up again.
#[derive(Debug)]
pub struct ActiveRun {
    /// The right to write the output.
    pub claim: OutputLease,
    /// What is done of it.
    pub journal: Journal,
    /// The output that it adds to, or replaces.
    pub before: Option<Manifest>,
    /// What is left to read: runs of files of one source, in the order of their numbers.
    pub left: Vec<(usize, Vec<(InputFile, Rows)>)>,
    /// Where finished files wait to be published.
    pub finished: Finished,
    /// What tells this run's files from those of others, where that matters.
    pub token: Option<String>,
    /// What a person should know before it goes on.
    pub notes: Vec<String>,
}

impl ActiveRun {
    /// Number of its first shard in the names of files, behind those that are there.
    pub fn first_number(&self) -> usize {
        let files = match (self.journal.job().mode, &self.before) {
            (Mode::Append | Mode::Retry, Some(manifest)) => manifest.files.as_slice(),
            _ => &[],
        };
        let number = |path: &str| -> Option<usize> {
            let name = path.rsplit('/').next()?.strip_prefix("part-")?;
            name.split(['-', '.']).next()?.parse().ok()
        };
        let numbers = files.iter().filter_map(|file| number(&file.path));
        numbers.max().map_or(0, |last| last + 1)
    }

    /// Rows that are in the output or written for it, of the input up to here.
    pub fn rows(&self) -> u64 {
        let published = match (self.journal.job().mode, &self.before) {
            (Mode::Append, Some(manifest)) => manifest.counts.rows,
            _ => 0,
        };
        published + self.journal.rows()
    }

    /// Rows that the limit leaves to this run; `None` is no limit.
    pub fn may_take(&self, job: &PreparedJob) -> Option<usize> {
        if self.journal.job().mode == Mode::Retry {
            return None;
        }
        job.options
            .limit
            .map(|limit| limit.saturating_sub(self.rows() as usize))
    }

    /// The number of rows of the whole job to expect, where the tables' own counts tell it; `done` of them are done.
    ///
    /// # Errors
    /// When a table cannot be read or has no rows.
    pub async fn expected_rows(
        &self,
        job: &PreparedJob,
        done: u64,
    ) -> Result<Option<u64>, AppError> {
        let limit = self.may_take(job).map(|left| left as u64 + done);
        if job.options.predicate.is_some() && self.journal.job().mode != Mode::Retry {
            return Ok(limit);
        }
        let mut rows = done;
        for (source, files) in &self.left {
            let count = scan::count(
                &job.inference.context,
                &job.tables.sources[*source].table,
                files,
            );
            rows += count.await.map_err(AppError::Plan)?;
        }
        if rows == 0 && self.journal.job().mode == Mode::New {
            return Err(AppError::Usage(format!(
                "the table {} has no rows",
                job.tables.shown.join(", ")
            )));
        }
        Ok(Some(limit.map_or(rows, |limit| rows.min(limit))))
    }
}

/// Removes files that runs of this job have written and not remembered; `kept` are remembered elsewhere.
///
/// # Errors
/// When the finished files cannot be listed or one not be removed.
pub async fn remove_strays(
    finished: &Finished,
    journal: &Journal,
    kept: &[String],
) -> Result<(), AppError> {
    let remembered: HashSet<&str> = journal
        .shards
        .iter()
        .flat_map(|shard| &shard.files)
        .map(|file| file.path.as_str())
        .chain(kept.iter().map(String::as_str))
        .collect();
    let local = finished.folder().is_some();
    for name in finished.list().await? {
        let last = name.rsplit('/').next().unwrap_or_default();
        let ours = |token: &String| !token.is_empty() && last.contains(&format!("-{token}"));
        if !remembered.contains(name.as_str()) && (local || journal.tokens.iter().any(ours)) {
            finished.remove(&name).await?;
        }
    }
    Ok(())
}
