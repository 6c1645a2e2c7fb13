//! `picsift image`: a JSON object for each picture, for people who have pictures and no table.
//!
//! Owns which files are meant and the form of the objects. Files are judged many at a time and printed in their order.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use picsift_udf::{Engine, EngineError, ImageSource, Labelling, Losses};
use url::Url;
use walkdir::WalkDir;

use super::devices::Devices;
use super::engine;
use super::printer::{Lines, note};
use crate::cli::ImageArgs;
use crate::error::AppError;
use crate::label::image::{ImageLabeler, ImageLabels};
use crate::requests;

/// Ends of names that are taken for images inside a folder; a file that is named itself may be called anything.
const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif", "jxl",
];

/// Runs the command.
///
/// # Errors
/// When a named file is not there or the question cannot be asked; a file that cannot be read or decoded is an `error` in
/// its own object instead, and [`AppError::AllFailed`] where every file is one.
pub(super) async fn image(args: ImageArgs) -> Result<(), AppError> {
    let files = files(&args.files)?;
    let options = requests::engine(&args.limits, Some(&args.cache), None, &engine::host())?;
    let engine = Arc::new(Engine::new(options)?);
    let labeler = labeler(&args, &engine)?;
    let mut lines = stream::iter(&files)
        .map(|file| {
            let labeler = &labeler;
            async move {
                let labels = labeler.label(ImageSource::Reference(file.clone())).await?;
                Ok::<_, EngineError>((file, labels))
            }
        })
        .buffered(labeler.in_flight());
    let mut out = Lines::new(std::io::stdout().lock());
    let (mut failed, losses) = (0, Losses::default());
    while let Some(found) = lines.next().await {
        let (file, outcome) = found?;
        losses.note_image();
        if let Err(error) = &outcome {
            failed += 1;
            let name = picsift_images::shown(file);
            losses.note_reason(error.stage.into(), error.kind.into(), error, Some(name));
        }
        let (labels, error) = match outcome {
            Ok(labels) => (labels, None),
            Err(error) => (ImageLabels::default(), Some(error.to_string())),
        };
        let line = labeler.object(file, &labels, error);
        let line = line.map_err(|error| AppError::Terminal(error.into()))?;
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(AppError::Terminal)?,
        }
    }
    out.flush().map_err(AppError::Terminal)?;
    Devices::default().say(&engine);
    if let Some(lost) = losses.said() {
        note!("warning: {lost}");
    }
    match failed {
        0 => Ok(()),
        all if all == files.len() => Err(AppError::AllFailed(all as u64)),
        _ => Ok(()),
    }
}

/// Whether categories are asked for, beside a question in words or alone.
fn asks_categories(args: &ImageArgs) -> bool {
    let wanted = &args.categories;
    args.ask.is_none()
        || !wanted.categories.is_empty()
        || wanted.categories_file.is_some()
        || wanted.heads.is_some()
}

/// What is asked of every file.
fn labeler(args: &ImageArgs, engine: &Arc<Engine>) -> Result<ImageLabeler, AppError> {
    let model = args.model.options();
    let model = engine.model(&model.name, &model.load)?;
    let wanted = &args.categories;
    let labelling = if !asks_categories(args) {
        None
    } else {
        let specs: Vec<_> = wanted
            .options()
            .resolve()?
            .into_iter()
            .map(|category| category.spec)
            .collect();
        Some(Labelling::new(&model, &specs, wanted.threshold).map_err(AppError::Plan)?)
    };
    let open = match &args.ask {
        None => None,
        Some(question) => {
            let open = model.open(question, args.generation.generation());
            Some(open.map_err(|error| AppError::Usage(error.to_string()))?)
        }
    };
    Ok(ImageLabeler::new(engine, model, labelling, open))
}

/// The files that are meant, folders opened, in order.
fn files(named: &[OsString]) -> Result<Vec<String>, AppError> {
    let mut files = Vec::new();
    for name in named {
        let (path, shown) = (Path::new(name), name.display());
        if path.is_dir() {
            let before = files.len();
            for entry in WalkDir::new(path).sort_by_file_name() {
                let entry = entry.map_err(|error| {
                    AppError::Usage(format!("cannot read the folder '{shown}': {error}"))
                })?;
                if entry.file_type().is_file() && is_image_name(entry.path()) {
                    files.push(reference(entry.path())?);
                }
            }
            if files.len() == before {
                return Err(AppError::Usage(format!(
                    "the folder '{shown}' holds no image ({})",
                    EXTENSIONS.join(", ")
                )));
            }
        } else if name.to_str().is_some_and(|name| name.contains("://")) || path.exists() {
            files.push(reference(path)?);
        } else {
            return Err(AppError::Usage(format!(
                "there is no file or folder '{shown}'"
            )));
        }
    }
    Ok(files)
}

/// The file as it is printed and read: its name, or where that is no text a URL that names it.
fn reference(path: &Path) -> Result<String, AppError> {
    if let Some(name) = path.to_str() {
        return Ok(name.to_owned());
    }
    let url = std::path::absolute(path)
        .ok()
        .and_then(|path| Url::from_file_path(path).ok());
    url.map(String::from)
        .ok_or_else(|| AppError::Usage(format!("the path of '{}' cannot be found", path.display())))
}

fn is_image_name(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}
