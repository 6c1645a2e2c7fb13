//! A labelled table as a data set to train on.
//!
//! The table's columns are read once to [`choose`] classes and rows, then its rows with their images in order ([`reading`]): [`split`]
//! decides by a picture's bytes where it goes, [`sinks`] write it in one of the forms, [`card`] says what came of it. Pictures are not
//! encoded anew.

pub mod card;
pub mod choose;
pub mod item;
pub mod licences;
pub mod names;
pub mod reading;
pub mod sinks;
pub mod split;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use picsift_udf::{Engine, EngineOptions};
use serde_json::{Value, json};

use crate::dataset::Labels;
use crate::dataset::folder::{self, Folder};
use crate::error::AppError;
use crate::{session, tables};
use card::Card;
use licences::Licences;
use reading::Export;
pub use sinks::Form;
use sinks::Plan;
use split::Splits;

/// The file that says that picsift made the folder.
pub const MARKER: &str = "_picsift_export.json";

/// What is exported, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The labelled tables.
    pub inputs: Vec<String>,
    /// Form of the data set.
    pub form: Form,
    /// Local folder that gets it.
    pub output: String,
    /// Whether an earlier export is replaced.
    pub overwrite: bool,
    /// Splits and their shares, as `train=0.8,test=0.2`.
    pub split: String,
    /// Seed of splits and of what is kept of a class.
    pub seed: u64,
    /// Column of the class; `None` is the label that was answered.
    pub label: Option<String>,
    /// Whether pictures without a label are kept, as a class `unlabelled`.
    pub keep_unlabelled: bool,
    /// How many pictures of a class are kept.
    pub class_size: ClassSize,
    /// Column of the images; `None` is the one that was labelled.
    pub image: Option<String>,
    /// Folder or URL that relative references are relative to; `None` is that of the table that was labelled.
    pub base: Option<String>,
    /// A file with the evaluation of the labels, for the data set's card.
    pub evaluation: Option<PathBuf>,
    /// Bytes of pictures in one file, about.
    pub shard_bytes: u64,
    /// Limits on an image and what references may reach.
    pub engine: EngineOptions,
}

/// How many pictures of a class are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClassSize {
    /// All.
    #[default]
    All,
    /// At most so many.
    AtMost(u64),
    /// As many as the smallest class has.
    Balanced,
}

/// A data set that was written.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Pictures in it.
    pub pictures: u64,
    /// Its classes.
    pub classes: Vec<String>,
    /// Bytes of pictures.
    pub bytes: u64,
    /// Pictures of each split.
    pub splits: Vec<(String, u64)>,
    /// Rows that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Writes the data set.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn export(args: &ExportOptions) -> Result<Exported, AppError> {
    let splits = Splits::parse(&args.split)
        .map_err(|reason| AppError::Usage(format!("--split {}: {reason}", args.split)))?;
    let folder = Folder::begin(&args.output, MARKER, args.overwrite)?;
    let engine = Arc::new(Engine::new(args.engine.clone())?);
    let context = session::session(&engine, 1).map_err(AppError::Plan)?;
    let labelled = Labels::open(&context, &args.inputs).await?;
    let Some(image) = args.image.clone().or(labelled.image.clone()) else {
        return Err(AppError::Usage(format!(
            "{} has no image column to export; say which with --image COLUMN",
            labelled.shown
        )));
    };
    let evaluation = match &args.evaluation {
        Some(path) => Some(evaluation(path)?),
        None => None,
    };
    let label = choose::label_column(&labelled, args.label.as_deref())?;
    let classes = choose::classes(&labelled, &label, args.keep_unlabelled).await?;
    let most = match args.class_size {
        ClassSize::All => None,
        ClassSize::AtMost(most) => Some(most),
        ClassSize::Balanced => classes.iter().map(|(_, rows)| *rows).min(),
    };
    let plan = Arc::new(Plan {
        folder: folder.path().to_path_buf(),
        splits: splits.names().map(str::to_string).collect(),
        classes: classes.iter().map(|(name, _)| name.clone()).collect(),
        shard_bytes: args.shard_bytes,
        image: image.clone(),
        label: label.clone(),
    });
    let chosen = match most {
        Some(most) => Some(choose::chosen(&labelled, &label, most, args.seed).await?),
        None => None,
    };
    let mut export = Export {
        engine,
        base: match &args.base {
            None => labelled.base.clone(),
            Some(text) => picsift_udf::table_base(&tables::locate(text).map_err(AppError::Plan)?),
        },
        chosen,
        read: 0,
        splits,
        seed: args.seed,
        unlabelled: args.keep_unlabelled,
        error: labelled.columns.error.clone(),
        source: labelled.columns.source.clone(),
        counts: vec![vec![0; classes.len()]; plan.splits.len()],
        left_out: BTreeMap::new(),
        licences: Licences::default(),
        people: 0,
        number: 0,
        bytes: 0,
        schema: reading::rest(&labelled.schema, &image),
        plan,
    };
    export.run(&labelled, args.form).await?;
    if export.number == 0 {
        return Err(AppError::Usage(format!(
            "{} has no picture to export: {}",
            labelled.shown,
            said(&export.left_out)
        )));
    }
    let card = Card {
        labelled: &labelled,
        form: args.form,
        splits: &export.plan.splits,
        classes: &export.plan.classes,
        counts: &export.counts,
        licences: &export.licences,
        people: export.source.as_ref().map(|_| export.people),
        left_out: &export.left_out,
        evaluation: evaluation.as_ref(),
        seed: args.seed,
    };
    let marker = json!({
        "picsift": env!("CARGO_PKG_VERSION"),
        "format": format!("{:?}", args.form).to_lowercase(),
        "splits": args.split,
        "seed": args.seed,
        "classes": export.plan.classes,
        "counts": export.counts,
        "left_out": export.left_out,
        "model": labelled.model(),
    });
    folder::write(folder.path(), "README.md", card.text())?;
    folder::write(folder.path(), MARKER, format!("{marker:#}\n"))?;
    folder.publish(&[])?;
    let mut notes: Vec<String> = labelled.note().map(str::to_string).into_iter().collect();
    let splits = export.plan.splits.iter().zip(&export.counts);
    for (split, counts) in splits.clone() {
        let missing = export.plan.classes.iter().zip(counts);
        let missing: Vec<&str> = missing
            .filter(|(_, pictures)| **pictures == 0)
            .map(|(class, _)| class.as_str())
            .collect();
        if !missing.is_empty() {
            notes.push(format!(
                "warning: {split} has no picture of {}",
                missing.join(", ")
            ));
        }
    }
    Ok(Exported {
        pictures: export.number,
        classes: export.plan.classes.clone(),
        bytes: export.bytes,
        splits: splits
            .map(|(split, counts)| (split.clone(), counts.iter().sum()))
            .collect(),
        notes,
        left_out: export.left_out,
    })
}

fn evaluation(path: &std::path::Path) -> Result<Value, AppError> {
    let text = std::fs::read(path).map_err(AppError::file("read", path))?;
    let found: Option<Value> = serde_json::from_slice(&text).ok();
    let found = found.filter(|value| value.get("categories").is_some_and(Value::is_array));
    found.ok_or_else(|| {
        AppError::Usage(format!(
            "{} is no evaluation: it is what picsift eval --format json prints",
            path.display()
        ))
    })
}

/// Reasons in words.
pub fn said(left_out: &BTreeMap<String, u64>) -> String {
    let parts: Vec<_> = left_out
        .iter()
        .map(|(reason, rows)| format!("{rows} ({reason})"))
        .collect();
    match parts.is_empty() {
        true => "the table is empty".to_string(),
        false => parts.join(", "),
    }
}
