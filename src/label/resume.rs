//! What a job has to do, given what is there: begin, go on, add, ask again, or nothing.
//!
//! Compares the job with the output's manifest and with the journal of an unfinished run. What differs is said, and only
//! `--overwrite` goes past it.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::arrivals;
use super::chance::token;
use super::identity::difference;
use super::journal::{Begin, Journal, Mode};
use super::options::Existing;
use super::prepare::PreparedJob;
use super::shared;
use crate::dataset::failures::Failures;
use crate::dataset::finished::Finished;
use crate::dataset::lease::OutputLease;
use crate::dataset::manifest::Manifest;
use crate::dataset::own;
use crate::error::AppError;
use crate::input::Position;
use crate::input::files::{Comparison, FileEntry, InputFile, compare};
use crate::input::scan;
use crate::input::select::Rows;

/// What is to be done.
#[derive(Debug)]
pub enum ResumePlan {
    /// Nothing: the output is whole already.
    Nothing {
        /// Why, in a sentence.
        why: String,
        /// The output's manifest.
        manifest: Box<Manifest>,
    },
    /// Rows are to be labelled.
    Run(Box<ActiveRun>),
}

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

/// Finds out what there is to do.
///
/// # Errors
/// [`AppError::Usage`] when the output belongs to another job, [`AppError::Taken`] when another picsift writes it.
pub async fn begin(job: &PreparedJob) -> Result<ResumePlan, AppError> {
    let output = &job.output;
    output.check().await?;
    let planned = plan(job).await;
    // What was made only to find out that nothing is to be done.
    if let Err(AppError::Usage(_) | AppError::Engine(_)) = &planned
        && Journal::read(output.journal()).await?.is_none()
        && !shared::is_begun(output).await?
    {
        output.clear_work().await?;
    }
    planned
}

async fn plan(job: &PreparedJob) -> Result<ResumePlan, AppError> {
    let output = &job.output;
    let claim = OutputLease::new(&output.work, &output.target).await?;
    let overwrite = job.options.existing == Existing::Overwrite;
    if shared::give_way(output, overwrite).await? {
        drop(claim);
        return Box::pin(plan(job)).await;
    }
    let before = manifest(output.manifest().await?, job)?;
    let mut journal = Journal::read(output.journal()).await?;
    // Published, but killed before the work was cleared away.
    if let (Some(done), Some(manifest)) = (&journal, &before)
        && done.finish.is_some()
        && done.job().id == manifest.job.id
    {
        if let Some(done) = journal.take() {
            done.remove().await?;
        }
        output.clear_work().await?;
        drop(claim);
        return Box::pin(plan(job)).await;
    }
    let mut files: Vec<(usize, InputFile)> = job.files();
    arrivals::split(job, before.as_ref(), &mut files).await?;
    let mut notes = Vec::new();
    if let Some(unfinished) = &journal
        && let Some(what) = other_job(unfinished.job(), job, &mut files)
    {
        // Where nothing is done yet, nothing is lost.
        if job.options.existing != Existing::Overwrite && !unfinished.shards.is_empty() {
            return Err(AppError::Usage(format!(
                "'{}' is being made by a job that is not finished, and this is another one: {what}; run the earlier \
                 command to finish it, or use --overwrite to begin anew",
                output.target
            )));
        }
        if let Some(other) = journal.take() {
            discard(job, other).await?;
        }
        drop(claim);
        return Box::pin(plan(job)).await;
    }
    let (journal, resumed) = match journal {
        Some(unfinished) => {
            let known = unfinished.job().files.len();
            let new = files.iter().filter(|(_, f)| f.id as usize >= known).count();
            if new > 0 {
                notes.push(format!(
                    "the input has {new} new file{} that this unfinished job did not begin with; --incremental labels \
                     them when it is done",
                    if new == 1 { "" } else { "s" }
                ));
                files.retain(|(_, file)| (file.id as usize) < known);
            }
            job.inference.start()?;
            (unfinished, true)
        }
        None => match fresh(job, before.as_ref(), &mut files).await? {
            Fresh::Nothing { why, manifest } => {
                claim.release(&output.work).await?;
                output.clear_work().await?;
                return Ok(ResumePlan::Nothing { why, manifest });
            }
            Fresh::Begin(mode) => {
                job.inference.start()?;
                let mut entries: Vec<&InputFile> = files.iter().map(|(_, file)| file).collect();
                entries.sort_by_key(|file| file.id);
                let mut known: Vec<FileEntry> = match (&before, mode) {
                    (Some(manifest), Mode::Append | Mode::Retry) => manifest.job.files.clone(),
                    _ => Vec::new(),
                };
                let first = known.len();
                known.extend(
                    entries
                        .iter()
                        .filter(|file| file.id as usize >= first)
                        .map(|file| file.entry.clone()),
                );
                let begin = Begin {
                    id: token(16),
                    mode,
                    identity: job.identity.clone(),
                    files: known,
                };
                (Journal::begin(output.journal(), begin).await?, false)
            }
        },
    };
    if resumed && !journal.shards.is_empty() {
        notes.push(match journal.finish {
            Some(_) => {
                "all rows are labelled; publishing what an earlier run could not".to_string()
            }
            None => format!(
                "going on with an unfinished job: {} rows are done",
                indicatif::HumanCount(journal.rows())
            ),
        });
    }
    let mut journal = journal;
    output.try_out().await?;
    let token = output.is_remote().then(|| token(8));
    journal.run(token.as_deref().unwrap_or_default()).await?;
    let wanted = wanted(job, &journal, before.as_ref(), files).await?;
    Ok(ResumePlan::Run(Box::new(ActiveRun {
        claim,
        left: runs(wanted),
        finished: output.finished(before.is_none()),
        journal,
        before,
        token,
        notes,
    })))
}

pub(super) fn manifest(
    text: Option<Bytes>,
    job: &PreparedJob,
) -> Result<Option<Manifest>, AppError> {
    let Some(text) = text else {
        return Ok(None);
    };
    match serde_json::from_slice::<Manifest>(&text) {
        Ok(manifest) => match manifest.files.iter().find(|file| !own::is_part(&file.path)) {
            None => Ok(Some(manifest)),
            Some(strange) => Err(AppError::Usage(format!(
                "the manifest of '{}' lists '{}', which is no file that picsift writes, so it is not trusted; remove the folder \
                 yourself, or name another",
                job.output.target,
                picsift_images::shown(&strange.path)
            ))),
        },
        // Without it nobody knows which of the files there are a person's.
        Err(error) => Err(AppError::Usage(format!(
            "the manifest of '{}' cannot be read ({error}), so it cannot be told which files picsift wrote there; remove the \
             folder yourself, or name another",
            job.output.target
        ))),
    }
}

/// How an unfinished job differs from this one, if it does. Numbers the files as that one does.
fn other_job(begun: &Begin, job: &PreparedJob, files: &mut [(usize, InputFile)]) -> Option<String> {
    if let Some(what) = difference(&begun.identity, &job.identity) {
        return Some(what);
    }
    if job.options.existing == Existing::RetryFailed && begun.mode != Mode::Retry {
        return Some("--retry-failed comes after it".to_string());
    }
    match numbered(&begun.files, files) {
        Comparison::Different(what) => Some(format!("its input is another, {what}")),
        Comparison::Same { .. } => None,
    }
}

pub(super) fn numbered(known: &[FileEntry], files: &mut [(usize, InputFile)]) -> Comparison {
    let mut plain: Vec<InputFile> = files.iter().map(|(_, file)| file.clone()).collect();
    let comparison = compare(known, &mut plain);
    for ((_, file), numbered) in files.iter_mut().zip(plain) {
        file.id = numbered.id;
    }
    comparison
}

enum Fresh {
    Nothing {
        why: String,
        manifest: Box<Manifest>,
    },
    Begin(Mode),
}

/// What to do where no job is unfinished.
async fn fresh(
    job: &PreparedJob,
    before: Option<&Manifest>,
    files: &mut Vec<(usize, InputFile)>,
) -> Result<Fresh, AppError> {
    let shown = &job.output.target;
    let Some(before) = before.filter(|_| job.options.existing != Existing::Overwrite) else {
        if job.options.existing == Existing::RetryFailed {
            return Err(AppError::Usage(format!(
                "--retry-failed: there is no output in '{shown}' yet"
            )));
        }
        return Ok(Fresh::Begin(Mode::New));
    };
    if let Some(what) = difference(&before.job.identity, &job.identity) {
        return Err(AppError::Usage(format!(
            "'{shown}' was labelled by another command: {what}; name another folder or use --overwrite"
        )));
    }
    let new = match numbered(&before.job.files, files) {
        Comparison::Different(what) => {
            return Err(AppError::Usage(format!(
                "'{shown}' was labelled from another input: {what}; name another folder or use --overwrite"
            )));
        }
        Comparison::Same { new } => new,
    };
    let there: HashSet<String> = job.output.target.list().await?.into_iter().collect();
    let missing: Vec<&str> = before
        .files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| !there.contains(*path))
        .collect();
    if let Some(first) = missing.first() {
        return Err(AppError::Usage(format!(
            "'{shown}' is not whole: of the {} files in its manifest {} cannot be found, first '{first}'; put back what \
             is missing, name another folder or use --overwrite",
            before.files.len(),
            missing.len(),
        )));
    }
    if job.options.existing == Existing::RetryFailed {
        let known = before.job.files.len();
        files.retain(|(_, file)| (file.id as usize) < known);
        return Ok(match before.counts.failures {
            0 => Fresh::Nothing {
                why: format!("no image of '{shown}' failed; there is nothing to ask again"),
                manifest: Box::new(before.clone()),
            },
            _ => Fresh::Begin(Mode::Retry),
        });
    }
    let unfinished = before.partial.is_some();
    if new > 0 && job.options.existing != Existing::Incremental && !unfinished {
        return Err(AppError::Usage(format!(
            "'{shown}' is labelled, and its input has {new} new file{}; --incremental labels {} alone, --overwrite all",
            if new == 1 { "" } else { "s" },
            if new == 1 { "it" } else { "them" },
        )));
    }
    if job.options.existing != Existing::Incremental {
        let known = before.job.files.len();
        files.retain(|(_, file)| (file.id as usize) < known);
    }
    Ok(
        if unfinished || (new > 0 && job.options.existing == Existing::Incremental) {
            Fresh::Begin(Mode::Append)
        } else {
            Fresh::Nothing {
                why: format!(
                    "nothing to do: '{shown}' has all {} rows already",
                    indicatif::HumanCount(before.counts.rows)
                ),
                manifest: Box::new(before.clone()),
            }
        },
    )
}

/// Removes what an unfinished job has written.
async fn discard(job: &PreparedJob, journal: Journal) -> Result<(), AppError> {
    let output = &job.output;
    let finished = output.finished(output.manifest().await?.is_none());
    for file in journal.shards.iter().flat_map(|shard| &shard.files) {
        finished.remove(&file.path).await?;
    }
    remove_strays(&finished, &journal, &[]).await?;
    journal.remove().await?;
    output.clear_work().await
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

/// The rows that are left, files in the order of their numbers.
async fn wanted(
    job: &PreparedJob,
    journal: &Journal,
    before: Option<&Manifest>,
    mut files: Vec<(usize, InputFile)>,
) -> Result<Vec<(usize, InputFile, Rows)>, AppError> {
    files.sort_by_key(|(_, file)| file.id);
    let begun = journal.job();
    let published = match (begun.mode, before) {
        (Mode::Append, Some(manifest)) => manifest.job.through,
        _ => Position::default(),
    };
    let through = journal.through().unwrap_or_default().max(published);
    let failed: Option<HashMap<String, Vec<u64>>> = match begun.mode {
        Mode::Retry => {
            let list = job.output.failures().await?.ok_or_else(|| {
                AppError::Usage(format!(
                    "--retry-failed goes by {}, which is not there any more",
                    job.output.failures_shown()
                ))
            })?;
            let mut failures = Failures::default();
            failures.read(list).map_err(AppError::Plan)?;
            Some(failures.rows())
        }
        _ => None,
    };
    let mut wanted = Vec::new();
    for (source, file) in files {
        let first = match file.id.cmp(&through.file) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => through.row,
            std::cmp::Ordering::Greater => 0,
        };
        let rows = match &failed {
            None => Rows::From(first),
            Some(failed) => {
                let rows = failed.get(&file.entry.url).map(Vec::as_slice);
                let rows = rows.unwrap_or_default();
                let left = &rows[rows.partition_point(|&row| row < first)..];
                if left.is_empty() {
                    continue;
                }
                Rows::Only(left.into())
            }
        };
        wanted.push((source, file, rows));
    }
    Ok(wanted)
}

/// Neighbours of one source together.
fn runs(wanted: Vec<(usize, InputFile, Rows)>) -> Vec<(usize, Vec<(InputFile, Rows)>)> {
    let mut runs: Vec<(usize, Vec<(InputFile, Rows)>)> = Vec::new();
    for (source, file, rows) in wanted {
        match runs.last_mut() {
            Some((last, files)) if *last == source => files.push((file, rows)),
            _ => runs.push((source, vec![(file, rows)])),
        }
    }
    runs
}
