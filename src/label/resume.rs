//! What a job has to do, given what is there: begin, go on, add, ask again, or nothing.
//!
//! Compares the job with the output's manifest and with the journal of an unfinished run. What differs is said, and only
//! `--overwrite` goes past it.

use std::collections::HashSet;

use bytes::Bytes;

use super::active::{ActiveRun, remove_strays};
use super::arrivals;
use super::chance::token;
use super::identity::difference;
use super::journal::{Begin, Journal, Mode};
use super::left::left;
use super::options::Existing;
use super::prepare::PreparedJob;
use super::shared;
use crate::dataset::lease::OutputLease;
use crate::dataset::manifest::Manifest;
use crate::dataset::own;
use crate::error::AppError;
use crate::input::files::{Comparison, FileEntry, InputFile, compare};

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
        && (done.finish.is_some() || done.handed_over)
        && done.job().id == manifest.job.id
    {
        if let Some(done) = journal.take() {
            done.remove().await?;
        }
        output.clear_work().await?;
        drop(claim);
        return Box::pin(plan(job)).await;
    }
    if let Some(left) = journal.take_if(|journal| journal.handed_over) {
        if !overwrite {
            return Err(AppError::Usage(shared::is_shared(output)));
        }
        discard(job, left).await?;
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
    let left = left(job, &journal, before.as_ref(), files).await?;
    Ok(ResumePlan::Run(Box::new(ActiveRun {
        claim,
        left,
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
                why: nothing_to_do(shown, before.counts.rows),
                manifest: Box::new(before.clone()),
            }
        },
    )
}

/// Removes what an unfinished job has written.
pub(super) async fn discard(job: &PreparedJob, journal: Journal) -> Result<(), AppError> {
    let output = &job.output;
    let finished = output.finished(output.manifest().await?.is_none());
    for file in journal.shards.iter().flat_map(|shard| &shard.files) {
        finished.remove(&file.path).await?;
    }
    remove_strays(&finished, &journal, &[]).await?;
    journal.remove().await?;
    output.clear_work().await
}

/// What is said of an output that has all rows of the input.
pub(super) fn nothing_to_do(shown: impl std::fmt::Display, rows: u64) -> String {
    match rows {
        1 => format!("nothing to do: '{shown}' has the only row already"),
        rows => format!(
            "nothing to do: '{shown}' has all {} rows already",
            indicatif::HumanCount(rows)
        ),
    }
}
