//! The end of a job: its manifest, its list of failures, and its files in their place.

use datafusion::error::DataFusionError;

use super::active::{ActiveRun, remove_strays};
use super::journal::{Journal, Mode};
use super::prepare::PreparedJob;
use crate::dataset::failures::Failures;
use crate::dataset::finished::Finished;
use crate::dataset::manifest::{Counts, InputEntry, JobEntry, Manifest, Seconds, category_entries};
use crate::dataset::publish::{How, Publication};
use crate::error::AppError;
use crate::input::Position;

/// Publishes what the journal remembers and forgets the work. Can be called again after a crash.
///
/// # Errors
/// When something cannot be read or written.
pub(super) async fn publish(job: &PreparedJob, work: ActiveRun) -> Result<Manifest, AppError> {
    let ActiveRun {
        claim,
        journal,
        before,
        finished,
        ..
    } = work;
    let mode = journal.job().mode;
    let manifest = manifest(job, &journal, before.as_ref());
    let failures = failures(job, &journal).await?;
    let published: Vec<String> = before
        .iter()
        .flat_map(|before| before.files.iter().map(|file| file.path.clone()))
        .collect();
    remove_strays(&finished, &journal, &published).await?;
    let external = |error| AppError::Run(DataFusionError::External(error));
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| external(error.into()))?;
    let (scratch, list) = match failures.is_empty() {
        true => (None, None),
        false => {
            let scratch = scratch(&finished)?;
            let path = scratch.path().join("errors.parquet");
            failures.write(&path).map_err(AppError::Run)?;
            (Some(scratch), Some(path))
        }
    };
    let removed = match mode {
        Mode::New => published
            .into_iter()
            .filter(|path| manifest.files.iter().all(|file| file.path != *path))
            .collect(),
        Mode::Append | Mode::Retry => replaced(&journal),
    };
    let new = journal.shards.iter().flat_map(|shard| &shard.files);
    job.output
        .publish(Publication {
            how: match mode {
                Mode::New => How::Whole,
                Mode::Append | Mode::Retry => How::Beside,
            },
            manifest: (text + "\n").into(),
            files: new.map(|file| file.path.clone()).collect(),
            removed,
            failures: list,
        })
        .await?;
    tracing::info!(
        rows = manifest.counts.rows,
        files = manifest.files.len(),
        failures = manifest.counts.failures,
        "output published"
    );
    drop(scratch);
    journal.remove().await?;
    claim.release(&job.output.work).await?;
    job.output.clear_work().await?;
    Ok(manifest)
}

/// A folder on the disk of the output, where that is local, so that a file can be moved from it.
fn scratch(finished: &Finished) -> Result<tempfile::TempDir, AppError> {
    let folder = match finished.folder().as_deref().and_then(|data| data.parent()) {
        Some(work) => tempfile::tempdir_in(work),
        None => tempfile::tempdir(),
    };
    folder.map_err(AppError::file("write in", "the folder for temporary files"))
}

fn replaced(journal: &Journal) -> Vec<String> {
    let shards = journal.shards.iter();
    shards.flat_map(|shard| shard.replaced.clone()).collect()
}

/// All failures of the output: those of the job, and before them those it does not ask again.
async fn failures(job: &PreparedJob, journal: &Journal) -> Result<Failures, AppError> {
    let mut failures = Failures::default();
    if journal.job().mode == Mode::Append
        && let Some(earlier) = job.output.failures().await?
    {
        failures.read(earlier).map_err(AppError::Run)?;
    }
    for name in journal
        .shards
        .iter()
        .filter_map(|shard| shard.failed.as_ref())
    {
        // Not there: this is done a second time, and the list stands beside the output already.
        if let Some(part) = job.output.failed_shards().read(name).await? {
            failures.read(part).map_err(AppError::Run)?;
        }
    }
    Ok(failures)
}

fn manifest(job: &PreparedJob, journal: &Journal, before: Option<&Manifest>) -> Manifest {
    let begun = journal.job();
    let before = before.filter(|_| begun.mode != Mode::New);
    let mut counts = before
        .map(|before| before.counts.clone())
        .unwrap_or_default();
    let mut seconds: Seconds = before
        .map(|before| before.seconds.clone())
        .unwrap_or_default();
    let mut held: Vec<u64> = match before {
        Some(before) => before
            .categories
            .iter()
            .map(|category| category.held)
            .collect(),
        None => vec![0; job.columns.categories.len()],
    };
    let mut asked_again = Counts::default();
    for shard in &journal.shards {
        counts += &shard.counts;
        asked_again += &shard.counts;
        seconds += &shard.seconds;
        for (all, new) in held.iter_mut().zip(&shard.held) {
            *all += new;
        }
    }
    counts.distinct_is_exact &= before.is_none() && journal.tokens.len() == 1;
    if begun.mode == Mode::Retry {
        // They were counted when they failed.
        counts.rows -= asked_again.rows;
        counts.images -= asked_again.images;
        counts.failures -= asked_again.images;
    }
    let gone = replaced(journal);
    let kept = before.iter().flat_map(|before| &before.files);
    let kept = kept.filter(|file| !gone.contains(&file.path));
    let new = journal.shards.iter().flat_map(|shard| &shard.files);
    let mut files: Vec<_> = kept.chain(new).cloned().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let through = journal.through().unwrap_or_default();
    let through = before.map_or(through, |before| through.max(before.job.through));
    Manifest {
        cascade: journal.cascade().or_else(|| before?.cascade.clone()),
        partial: match begun.mode {
            Mode::Retry => before.and_then(|before| before.partial.clone()),
            _ => journal
                .finish
                .as_ref()
                .and_then(|finish| finish.partial.clone()),
        },
        counts,
        seconds,
        files,
        job: JobEntry {
            id: begun.id.clone(),
            identity: begun.identity.clone(),
            through: match (begun.mode, before) {
                // It began again at the first row.
                (Mode::Retry, Some(before)) => before.job.through,
                _ => through,
            },
            files: begun.files.clone(),
        },
        ..draft(job, &held)
    }
}

/// The manifest of a job, for whose categories so many rows held, without what came of its rows.
pub(super) fn draft(job: &PreparedJob, held: &[u64]) -> Manifest {
    Manifest {
        picsift: env!("CARGO_PKG_VERSION").to_string(),
        partial: None,
        model: serde_json::to_value(job.inference.model.info()).unwrap_or_default(),
        categories: category_entries(
            &job.columns.categories,
            &job.columns.labelling,
            &job.columns.added,
            held,
        ),
        input: InputEntry {
            tables: job.tables.shown.clone(),
            image_column: job.tables.image.clone(),
            predicate: job
                .options
                .predicate
                .as_deref()
                .map(|text| picsift_images::redacted(text).into_owned()),
            limit: job.options.limit,
            partition_by: job.columns.partition_by.clone(),
        },
        corrections: job.corrections.clone(),
        cascade: None,
        counts: Counts::default(),
        seconds: Seconds::default(),
        files: Vec::new(),
        job: JobEntry {
            id: String::new(),
            identity: job.identity.clone(),
            through: Position::default(),
            files: Vec::new(),
        },
    }
}
