//! `picsift image`: a JSON object for each picture, for people who have pictures and no table.
//!
//! Owns which files are meant and the form of the objects. Files are judged many at a time and printed in their order.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use picsift_udf::{
    Engine, EngineError, ImagePipeline, ImageSource, Labelling, Losses, ModelHandle, RowError,
    labels,
};
use picsift_vision::{Answer, Question};
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;
use walkdir::WalkDir;

use super::devices::Devices;
use super::engine;
use super::printer::{Lines, note};
use crate::cli::ImageArgs;
use crate::error::AppError;

/// Ends of names that are taken for images inside a folder; a file that is named itself may be called anything.
const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif", "jxl",
];

/// What is printed of one file.
#[derive(Debug, Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<&'a str>>,
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    error: Option<String>,
}

/// What is asked of every file.
struct Asked {
    labelling: Option<Labelling>,
    questions: Arc<[Question]>,
}

/// Runs the command.
///
/// # Errors
/// When a named file is not there or the question cannot be asked; a file that cannot be read or decoded is an `error` in
/// its own object instead, and [`AppError::AllFailed`] where every file is one.
pub(super) async fn image(args: ImageArgs) -> Result<(), AppError> {
    let files = files(&args.files)?;
    let options = engine::options(&args.limits, Some(&args.cache), None)?;
    let engine = Arc::new(Engine::new(options)?);
    let model = args.model.options();
    let model = engine.model(&model.name, &model.load)?;
    let Asked {
        labelling,
        questions,
    } = asked(&args, &model)?;
    let pipeline = ImagePipeline::new(Arc::clone(&engine), Some(model), Arc::default());
    let questions = pipeline.questions(questions);
    let mut lines = stream::iter(&files)
        .map(|file| {
            let (pipeline, questions) = (&pipeline, &questions);
            async move {
                let image = ImageSource::Reference(file.clone());
                let outcome = pipeline.answer(image, questions).await?;
                Ok::<_, EngineError>((file, outcome))
            }
        })
        .buffered(pipeline.in_flight());
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
        let text = serde_json::to_string(&line(file, labelling.as_ref(), &outcome))
            .map_err(|error| AppError::Terminal(error.into()))?;
        match writeln!(out, "{text}") {
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

fn asked(args: &ImageArgs, model: &ModelHandle) -> Result<Asked, AppError> {
    let wanted = &args.categories;
    let named =
        !wanted.categories.is_empty() || wanted.categories_file.is_some() || wanted.heads.is_some();
    let labelling = if args.ask.is_some() && !named {
        None
    } else {
        let specs: Vec<_> = wanted
            .options()
            .resolve()?
            .into_iter()
            .map(|category| category.spec)
            .collect();
        Some(Labelling::new(model, &specs, wanted.threshold).map_err(AppError::Plan)?)
    };
    let mut questions: Vec<Question> = labelling
        .iter()
        .flat_map(|l| l.questions().to_vec())
        .collect();
    if let Some(question) = &args.ask {
        let open = model.open(question, args.generation.generation());
        questions.push(open.map_err(|error| AppError::Usage(error.to_string()))?);
    }
    Ok(Asked {
        labelling,
        questions: questions.into(),
    })
}

fn line<'a>(
    file: &'a str,
    labelling: Option<&'a Labelling>,
    outcome: &'a Result<Arc<[Answer]>, RowError>,
) -> Line<'a> {
    let mut line = Line {
        file,
        answers: None,
        scores: None,
        labels: None,
        label: None,
        text: None,
        error: None,
    };
    let answers = match outcome {
        Ok(answers) => answers,
        Err(error) => {
            line.error = Some(error.to_string());
            return line;
        }
    };
    line.text = answers.iter().find_map(Answer::text);
    if let Some(labelling) = labelling {
        let scores: Vec<f32> = answers.iter().filter_map(Answer::score).collect();
        let held = labelling.holds(&scores);
        let names = labelling.names();
        line.answers = Some(object(names, held.iter().map(|held| Value::from(*held))));
        line.scores = Some(object(names, scores.iter().map(|score| rounded(*score))));
        line.label = labelling.best(&scores);
        let held: Vec<_> = held.into_iter().map(Some).collect();
        line.labels = Some(labels(names, &held));
    }
    line
}

fn object(names: &[String], values: impl Iterator<Item = Value>) -> Map<String, Value> {
    names.iter().cloned().zip(values).collect()
}

/// A score with the digits that mean something.
fn rounded(score: f32) -> Value {
    Value::from((f64::from(score) * 1e6).round() / 1e6)
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
