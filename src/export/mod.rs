//! `picsift export`: a labelled table as a data set to train on.
//!
//! The table's columns are read once to count classes, then its rows with their images in order: [`split`] decides by a picture's bytes
//! where it goes, [`sinks`] write it in one of the forms, [`card`] says what came of it. Pictures are not encoded anew.

pub mod card;
pub mod item;
pub mod names;
pub mod sinks;
pub mod split;

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use bytes::Bytes;
use datafusion::common::Result as DataFusionResult;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use futures::{StreamExt, stream};
use indicatif::HumanBytes;
use picsift_images::{Fetch, ImageInfo};
use picsift_udf::{Engine, ImageSource, image_names, image_sources};
use serde_json::{Map, Value, json};
use url::Url;

use crate::cli::ExportArgs;
use crate::error::{AppError, Signal};
use crate::eval::gather::plain;
use crate::labelled::Labelled;
use crate::output::folder::{self, Folder};
use crate::output::place;
use crate::{session, tables};
use card::Card;
use item::{Item, extension};
use sinks::{Form, Plan, Sink};
use split::{Splits, order};

/// The file that says that picsift made the folder.
pub const MARKER: &str = "_picsift_export.json";

/// The class of pictures without a label.
const UNLABELLED: &str = "unlabelled";

/// Most classes: more are no classes but texts.
const MOST_CLASSES: usize = 10_000;

/// Most licences that are told apart.
const MOST_LICENCES: usize = 100;

/// Columns in which a table says under which licence a picture is.
const LICENCES: [&str; 3] = ["license", "licence", "image_license"];

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn export(args: ExportArgs) -> Result<(), AppError> {
    tokio::select! {
        made = make(&args) => made,
        _ = tokio::signal::ctrl_c() => Err(AppError::Interrupted {
            signal: Signal::Interrupt,
            state: "nothing was exported".to_string(),
        }),
    }
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
    let label = label_column(&labelled, args)?;
    let classes = classes(&labelled, &label, args.keep_unlabelled).await?;
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
        Some(most) => Some(chosen(&labelled, &plan, most, args.seed).await?),
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
        licences: BTreeMap::new(),
        people: 0,
        number: 0,
        bytes: 0,
        schema: rest(&labelled.schema, &image),
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
    folder.publish()?;
    export.say(args);
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

fn label_column(labelled: &Labelled, args: &ExportArgs) -> Result<String, AppError> {
    let Some(label) = args.label.clone().or(labelled.columns.label.clone()) else {
        return Err(AppError::Usage(format!(
            "{} has no column 'label'; say with --label COLUMN which column is the class",
            labelled.shown
        )));
    };
    match labelled.schema.field_with_name(&label) {
        Ok(field) if picsift_udf::is_string(field.data_type()) => Ok(label),
        Ok(field) => Err(AppError::Usage(format!(
            "--label {label}: the column is {}; a class is text",
            field.data_type()
        ))),
        Err(_) => Err(AppError::Usage(format!(
            "--label {label}: {} has no such column",
            labelled.shown
        ))),
    }
}

/// The classes with their rows, by name, that of pictures without a label last.
async fn classes(
    labelled: &Labelled,
    label: &str,
    unlabelled: bool,
) -> Result<Vec<(String, u64)>, AppError> {
    let groups = labelled
        .frame
        .clone()
        .aggregate(
            vec![plain(label).alias("class")],
            vec![count(lit(1)).alias("rows")],
        )
        .and_then(|groups| groups.limit(0, Some(MOST_CLASSES + 2)))
        .map_err(AppError::Plan)?
        .collect()
        .await
        .map_err(AppError::Run)?;
    let mut classes = Vec::new();
    let mut without = 0;
    for batch in &groups {
        let names = texts(batch.column(0)).map_err(AppError::Run)?;
        let rows = batch
            .column(1)
            .as_primitive::<arrow::datatypes::Int64Type>();
        for row in 0..batch.num_rows() {
            let count = rows.value(row).max(0) as u64;
            match names.is_valid(row) {
                true => classes.push((names.value(row).to_string(), count)),
                false => without += count,
            }
        }
    }
    if classes.len() > MOST_CLASSES {
        return Err(AppError::Usage(format!(
            "column '{label}' has more than {MOST_CLASSES} different values: is it the class?"
        )));
    }
    classes.sort();
    if unlabelled && without > 0 {
        if classes.iter().any(|(name, _)| name == UNLABELLED) {
            return Err(AppError::Usage(format!(
                "--keep-unlabelled: there is a class '{UNLABELLED}' already"
            )));
        }
        classes.push((UNLABELLED.to_string(), without));
    }
    Ok(classes)
}

/// The places of at most `most` rows of each class, as if drawn by lot; no image is read for it. Memory is that of what is drawn.
async fn chosen(
    labelled: &Labelled,
    plan: &Plan,
    most: u64,
    seed: u64,
) -> Result<HashSet<u64>, AppError> {
    let mut columns = vec![plain(&plan.label)];
    columns.extend(labelled.columns.error.as_deref().map(plain));
    let mut stream = labelled
        .frame
        .clone()
        .select(columns)
        .map_err(AppError::Plan)?
        .execute_stream()
        .await
        .map_err(AppError::Run)?;
    let mut drawn: HashMap<Option<String>, BinaryHeap<(u64, u64)>> = HashMap::new();
    let mut place = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(AppError::Run)?;
        let labels = texts(batch.column(0)).map_err(AppError::Run)?;
        let failed = batch.columns().get(1);
        for (row, label) in labels.iter().enumerate() {
            if failed.is_none_or(|failed| failed.is_null(row)) {
                let lots = drawn.entry(label.map(str::to_string)).or_default();
                lots.push((order(place, seed), place));
                if lots.len() as u64 > most {
                    lots.pop();
                }
            }
            place += 1;
        }
    }
    let places = drawn.into_values().flatten();
    Ok(places.map(|(_, place)| place).collect())
}

/// The columns beside the image, in types that all readers know.
fn rest(schema: &Schema, image: &str) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| field.name() != image);
    let fields = fields.map(|field| match field.data_type() {
        DataType::Dictionary(_, value) => {
            Arc::new(Field::new(field.name(), value.as_ref().clone(), true))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

struct Export {
    engine: Arc<Engine>,
    base: Option<Url>,
    splits: Splits,
    seed: u64,
    plan: Arc<Plan>,
    /// Places of the rows that are kept of each class; `None` is all.
    chosen: Option<HashSet<u64>>,
    /// Rows that were read.
    read: u64,
    unlabelled: bool,
    error: Option<String>,
    source: Option<String>,
    /// Pictures by split and class.
    counts: Vec<Vec<u64>>,
    left_out: BTreeMap<String, u64>,
    licences: BTreeMap<String, u64>,
    people: u64,
    number: u64,
    bytes: u64,
    /// Columns beside the image.
    schema: SchemaRef,
}

/// A picture that was read.
struct Got {
    bytes: Bytes,
    info: ImageInfo,
}

impl Export {
    /// Writes all rows in their order.
    async fn run(&mut self, labelled: &Labelled, form: Form) -> Result<(), AppError> {
        let mut columns: Vec<Expr> = vec![plain(&self.plan.image)];
        columns.extend(self.schema.fields().iter().map(|field| plain(field.name())));
        let mut stream = labelled
            .frame
            .clone()
            .select(columns)
            .map_err(AppError::Plan)?
            .execute_stream()
            .await
            .map_err(AppError::Run)?;
        let mut sink = Sink::new(form, &self.plan, &self.schema)?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(AppError::Run)?;
            let (items, rows) = self.items(&batch).await?;
            sink = place::blocking(move || {
                sink.write(&items, &rows)?;
                Ok(sink)
            })
            .await?;
        }
        place::blocking(move || sink.finish()).await
    }

    /// The pictures of a batch that are exported, and its rows without images.
    async fn items(&mut self, batch: &RecordBatch) -> Result<(Vec<Item>, RecordBatch), AppError> {
        let images = batch.column(0);
        let columns = batch.columns()[1..].iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        let arrow = |error: arrow::error::ArrowError| AppError::Run(error.into());
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(arrow)?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(arrow)?;
        let sources = image_sources(images).map_err(AppError::Run)?;
        let names = image_names(images).map_err(AppError::Run)?;
        let classes = self.classes(&rows).map_err(AppError::Run)?;
        let failed = self
            .error
            .as_deref()
            .and_then(|name| rows.column_by_name(name));
        let wanted = sources.into_iter().enumerate().map(|(row, source)| {
            let unread = failed.is_some_and(|failed| failed.is_valid(row));
            let place = self.read + row as u64;
            let chosen = self
                .chosen
                .as_ref()
                .is_none_or(|chosen| chosen.contains(&place));
            match (unread, classes[row], source) {
                (true, ..) => Err("the image had failed when it was labelled"),
                (_, None, _) => Err("it has no label"),
                (_, _, None) => Err("the row has no image"),
                (false, Some(_), Some(_)) if !chosen => Err("its class has enough pictures"),
                (false, Some(_), Some(source)) => Ok(source),
            }
        });
        let wanted: Vec<_> = wanted.collect();
        self.read += batch.num_rows() as u64;
        let (engine, base) = (&self.engine, self.base.as_ref());
        let read: Vec<Result<Got, String>> = stream::iter(wanted)
            .map(|source| async move {
                match source {
                    Ok(source) => read(engine, base, source).await,
                    Err(reason) => Err(reason.to_string()),
                }
            })
            .buffered(engine.options().images_in_flight)
            .collect()
            .await;
        let objects = objects(&rows)?;
        let mut items = Vec::new();
        for (row, (got, columns)) in read.into_iter().zip(objects).enumerate() {
            let kept = got.and_then(|got| self.place(&got, classes[row]).map(|place| (got, place)));
            match kept {
                Ok((got, (split, class))) => {
                    self.note(&rows, row, &columns);
                    self.bytes += got.bytes.len() as u64;
                    items.push(Item {
                        number: self.number,
                        row,
                        split,
                        class,
                        extension: extension(got.info.format),
                        bytes: got.bytes,
                        name: names[row].as_deref().map(picsift_images::shown),
                        columns,
                    });
                    self.number += 1;
                }
                Err(reason) => *self.left_out.entry(reason).or_default() += 1,
            }
        }
        Ok((items, rows))
    }

    /// The number of each row's class.
    fn classes(&self, rows: &RecordBatch) -> DataFusionResult<Vec<Option<usize>>> {
        let Some(labels) = rows.column_by_name(&self.plan.label) else {
            return Ok(vec![None; rows.num_rows()]);
        };
        let labels = texts(labels)?;
        let find = |name: &str| self.plan.classes.iter().position(|class| class == name);
        Ok(labels
            .iter()
            .map(|label| match label {
                Some(label) => find(label),
                None if self.unlabelled => find(UNLABELLED),
                None => None,
            })
            .collect())
    }

    /// Split and class of a picture.
    fn place(&mut self, got: &Got, class: Option<usize>) -> Result<(usize, usize), String> {
        let class = class.ok_or("it has no label")?;
        let split = self.splits.of(&got.info.sha256, self.seed);
        self.counts[split][class] += 1;
        Ok((split, class))
    }

    /// Counts licences and what people decided.
    fn note(&mut self, rows: &RecordBatch, row: usize, columns: &Map<String, Value>) {
        let licence = LICENCES
            .iter()
            .find_map(|name| columns.get(*name)?.as_str());
        if let Some(licence) = licence
            && (self.licences.len() < MOST_LICENCES || self.licences.contains_key(licence))
        {
            *self.licences.entry(licence.to_string()).or_default() += 1;
        }
        let source = self
            .source
            .as_deref()
            .and_then(|name| rows.column_by_name(name));
        let source = source.and_then(|source| source.as_string_opt::<i32>());
        let person = source.is_some_and(|s| s.is_valid(row) && s.value(row) == "person");
        self.people += u64::from(person);
    }

    fn say(&self, args: &ExportArgs) {
        println!(
            "{} pictures in {} classes, {}, written to {}",
            self.number,
            self.plan.classes.len(),
            HumanBytes(self.bytes),
            args.output
        );
        for (split, counts) in self.plan.splits.iter().zip(&self.counts) {
            println!("{split}: {}", counts.iter().sum::<u64>());
        }
        if !self.left_out.is_empty() {
            println!("left out: {}", said(&self.left_out));
        }
    }
}

async fn read(engine: &Engine, base: Option<&Url>, source: ImageSource) -> Result<Got, String> {
    let failed = |error: picsift_images::ImageError| format!("{}: {}", error.stage(), error.kind());
    let bytes = match source {
        ImageSource::Bytes(bytes) => bytes,
        ImageSource::Reference(reference) => {
            match engine.fetch(&reference, base, None).await.map_err(failed)? {
                Fetch::Changed(fetched) => fetched.bytes,
                Fetch::Unchanged => return Err("fetch: unchanged".to_string()),
            }
        }
    };
    let info = engine.pool().info(bytes.clone()).await.map_err(failed)?;
    Ok(Got { bytes, info })
}

/// The rows as JSON objects, with every column.
fn objects(rows: &RecordBatch) -> Result<Vec<Map<String, Value>>, AppError> {
    let failed = |error: arrow::error::ArrowError| AppError::Run(error.into());
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, JsonArray>(Vec::new());
    writer.write(rows).map_err(failed)?;
    writer.finish().map_err(failed)?;
    serde_json::from_slice(&writer.into_inner()).map_err(AppError::json)
}

fn texts(column: &dyn Array) -> DataFusionResult<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
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
