//! `picsift export`: a labelled table as a data set to train on.
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
use std::sync::Arc;

use indicatif::HumanBytes;
use picsift_udf::Engine;
use serde_json::{Value, json};

use crate::cli::ExportArgs;
use crate::error::AppError;
use crate::labelled::Labelled;
use crate::output::folder::{self, Folder};
use crate::printer::say;
use crate::{session, signals, tables};
use card::Card;
use licences::Licences;
use reading::Export;
use sinks::Plan;
use split::Splits;

/// The file that says that picsift made the folder.
pub const MARKER: &str = "_picsift_export.json";

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn export(args: ExportArgs) -> Result<(), AppError> {
    signals::unless_stopped(make(&args), "nothing was exported").await
}

async fn make(args: &ExportArgs) -> Result<(), AppError> {
    let splits = Splits::parse(&args.split)
        .map_err(|reason| AppError::Usage(format!("--split {}: {reason}", args.split)))?;
    let folder = Folder::begin(&args.output, MARKER, args.overwrite)?;
    let engine = Arc::new(Engine::new(
        args.limits.engine_options(None, Some(&args.fetch))?,
    )?);
    let context = session::session(&engine, 1).map_err(AppError::Plan)?;
    let labelled = Labelled::open(&context, &args.inputs).await?;
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
    let most = args.max_per_class.or(args.balance.then(|| {
        let sizes = classes.iter().map(|(_, rows)| *rows);
        sizes.min().unwrap_or(0)
    }));
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
    say(&export, &args.output);
    Ok(())
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

fn say(export: &Export, output: &str) {
    say!(
        "{} pictures in {} classes, {}, written to {output}",
        export.number,
        export.plan.classes.len(),
        HumanBytes(export.bytes),
    );
    for (split, counts) in export.plan.splits.iter().zip(&export.counts) {
        say!("{split}: {}", counts.iter().sum::<u64>());
    }
    if !export.left_out.is_empty() {
        say!("left out: {}", said(&export.left_out));
    }
}

fn said(left_out: &BTreeMap<String, u64>) -> String {
    let parts: Vec<_> = left_out
        .iter()
        .map(|(reason, rows)| format!("{rows} ({reason})"))
        .collect();
    match parts.is_empty() {
        true => "the table is empty".to_string(),
        false => parts.join(", "),
    }
}
