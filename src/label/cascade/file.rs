//! Thresholds without a job: `picsift calibrate`, for queries over tables like the one that is sampled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use picsift_udf::{CalibratedCategory, CalibratedModel, CascadeFile, SampledTable, question_name};
use picsift_vision::heads;

use super::CheapModel;
use super::calibrate::find;
use crate::dataset::cascade::CascadeEntry;
use crate::disk;
use crate::error::AppError;
use crate::input::select::Rows;
use crate::label::cancel::Cancel;
use crate::label::options::{Existing, LabelOptions};
use crate::label::prepare::PreparedJob;

/// Finds the thresholds for the rows of `options`, whose output is the file that gets them.
///
/// # Errors
/// As those of a job; the output is as it was before then.
pub async fn calibrate_file(
    options: LabelOptions,
    cancel: &Cancel,
) -> Result<CascadeEntry, AppError> {
    let output =
        std::path::absolute(&options.output).map_err(AppError::file("write", &options.output))?;
    check_output(&options, &output)?;
    let heads = options.categories.heads.clone();
    let job = PreparedJob::new(options).await?;
    let Some(cheap) = &job.cheap else {
        return Err(AppError::Usage(
            "there is nothing to calibrate without a cheap model; name it with --cascade"
                .to_string(),
        ));
    };
    let mut left: Vec<(usize, Vec<_>)> = Vec::new();
    for (source, file) in job.files() {
        match left.last_mut() {
            Some((last, files)) if *last == source => files.push((file, Rows::From(0))),
            _ => left.push((source, vec![(file, Rows::From(0))])),
        }
    }
    let entry = find(&job, cheap, &left, job.options.limit, None, cancel).await?;
    let mut cheap = cheap.clone();
    let heads = match cheap.take_taught(&entry) {
        false => heads,
        true => Some(write_heads(&cheap, &output, job.options.existing).await?),
    };
    let cheap = &cheap;
    let file = file(&job, cheap, &entry, heads.as_deref(), &output)?;
    let text = toml::to_string(&file).map_err(|error| AppError::Usage(error.to_string()))?;
    let text = format!(
        "# Written by picsift calibrate: from which scores on '{}' answers for '{}'.\n\n{text}",
        cheap.options.cheap.name, job.options.model.name
    );
    disk::blocking(move || disk::replace(&output, text.as_bytes())).await?;
    Ok(entry)
}

/// Writes the heads of all categories beside the output, as some of them stand in no file yet.
async fn write_heads(
    cheap: &CheapModel,
    output: &Path,
    existing: Existing,
) -> Result<PathBuf, AppError> {
    let path = output.with_extension("safetensors");
    if path.symlink_metadata().is_ok() && existing != Existing::Overwrite {
        return Err(AppError::Usage(format!(
            "what the cheap model was taught goes beside the output, and {} is there already; name another output or replace both with \
             --overwrite",
            path.display()
        )));
    }
    let all = cheap
        .specs
        .iter()
        .filter_map(|spec| spec.category.head.clone());
    let bytes = heads::to_bytes(&all.collect::<Vec<_>>(), "a cascade's first sample");
    let bytes = bytes.unwrap_or_default();
    let target = path.clone();
    disk::blocking(move || disk::replace(&target, &bytes)).await?;
    Ok(path)
}

fn check_output(options: &LabelOptions, output: &Path) -> Result<(), AppError> {
    let shown = output.display();
    if options.output.contains("://") || output.is_dir() || options.output.ends_with('/') {
        return Err(AppError::Usage(format!(
            "the output '{shown}' must be a local file, such as cascade.toml"
        )));
    }
    let is_there = output.symlink_metadata().is_ok();
    if is_there && options.existing != Existing::Overwrite {
        return Err(AppError::Usage(format!(
            "the output {shown} is there already; name another or replace it with --overwrite"
        )));
    }
    Ok(())
}

fn file(
    job: &PreparedJob,
    cheap: &CheapModel,
    entry: &CascadeEntry,
    heads: Option<&Path>,
    output: &Path,
) -> Result<CascadeFile, AppError> {
    let labelling = &job.columns.labelling;
    let mut category = BTreeMap::new();
    for known in &entry.categories {
        let mut specs = cheap.specs.iter().enumerate();
        let found = specs.find(|(_, spec)| spec.category.name == known.name);
        let Some((place, spec)) = found else { continue };
        let asked = cheap.model.category(&spec.category);
        let asked = asked.map_err(|error| AppError::Usage(error.to_string()))?;
        category.insert(
            known.name.clone(),
            CalibratedCategory {
                low: known.low,
                high: known.high,
                threshold: labelling.thresholds()[place],
                min_recall: known.min_recall,
                min_precision: known.min_precision,
                prompt: spec.category.prompt.clone(),
                nouns: spec.category.nouns.clone(),
                templates: spec.category.templates.clone(),
                dear_question: question_name(&job.inference.model, &labelling.questions()[place]),
                cheap_question: question_name(&cheap.model, &asked),
            },
        );
    }
    Ok(CascadeFile {
        confidence: entry.confidence,
        audit: entry.audit,
        heads: heads.map(|heads| beside(heads, output)).transpose()?,
        dear: CalibratedModel::new(
            &job.options.model.name,
            &job.options.model.load,
            &job.inference.model,
        ),
        cheap: CalibratedModel::new(
            &cheap.options.cheap.name,
            &cheap.options.cheap.load,
            &cheap.model,
        ),
        sample: SampledTable {
            table: job.tables.shown.join(", "),
            rows: entry.rows,
            asked: entry.sampled,
            seed: cheap.options.seed,
        },
        category,
    })
}

/// A file as one in the folder of another names it: by its name alone where it lies there, else whole.
fn beside(file: &Path, other: &Path) -> Result<PathBuf, AppError> {
    let file = std::path::absolute(file).map_err(AppError::file("read", file))?;
    let inside = other
        .parent()
        .and_then(|folder| file.strip_prefix(folder).ok());
    Ok(inside.map_or_else(|| file.clone(), Path::to_path_buf))
}
