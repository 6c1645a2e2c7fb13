//! The closing lines of a job.

use std::io::Write;

use indicatif::{HumanBytes, HumanCount};
use picsift_udf::CLASH_PREFIX;

use super::job::Job;
use super::manifest::Manifest;

/// Prints what was done to standard output.
///
/// # Errors
/// The system's, when standard output is closed.
pub(super) fn print(job: &Job, manifest: &Manifest) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let counts = &manifest.counts;
    let seconds = &manifest.seconds;
    writeln!(
        out,
        "{} rows, {} images ({}{} distinct), {} failed, in {:.1} s ({:.0} images/s)",
        HumanCount(counts.rows),
        HumanCount(counts.images),
        if counts.distinct_is_exact {
            ""
        } else {
            "at least "
        },
        HumanCount(counts.distinct_images),
        HumanCount(counts.failures),
        seconds.wall,
        counts.images as f64 / seconds.wall.max(0.001),
    )?;
    writeln!(
        out,
        "fetch {:.1} s, decode {:.1} s, model {:.1} s ({} on {})",
        seconds.fetch, seconds.decode, seconds.model, manifest.model.name, manifest.model.device
    )?;
    let held: Vec<String> = manifest
        .categories
        .iter()
        .map(|category| format!("{} {}", category.name, HumanCount(category.held)))
        .collect();
    writeln!(out, "{}", held.join(", "))?;
    let files = manifest.files.len();
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    writeln!(
        out,
        "{files} file{} in {}, {}",
        if files == 1 { "" } else { "s" },
        job.output.display(),
        HumanBytes(bytes)
    )?;
    let moved: Vec<String> = job
        .added
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .filter(|name| name.starts_with(CLASH_PREFIX) && *name != "picsift_error")
        .collect();
    if !moved.is_empty() {
        writeln!(
            out,
            "the table has columns of these names already, so the answers are in {}",
            moved.join(", ")
        )?;
    }
    if counts.failures > 0 {
        writeln!(
            out,
            "why images failed: picsift sql -c \"SELECT {error}, count(*) FROM '{}' WHERE {error} IS NOT NULL GROUP BY {error}\"",
            job.output.display(),
            error = job.added.error,
        )?;
    }
    out.flush()
}
