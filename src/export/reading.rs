//! From the rows of a table to pictures on their way into a data set: images fetched a bounded number at once, rows in order.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use bytes::Bytes;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, stream};
use picsift_images::{ImageInfo, is_absolute};
use picsift_udf::{Engine, ImageSource, ReferenceOrigin, image_names, image_sources};
use serde_json::{Map, Value};
use url::Url;

use super::choose::UNLABELLED;
use super::item::{Item, extension};
use super::licences::Licences;
use super::sinks::{Form, Plan, Sink};
use super::split::Splits;
use crate::dataset::labels::{Labels, texts};
use crate::disk;
use crate::error::AppError;
use crate::tables::plain;

/// The columns beside the image, in types that all readers know.
pub fn rest(schema: &Schema, image: &str) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| field.name() != image);
    let fields = fields.map(|field| match field.data_type() {
        DataType::Dictionary(_, value) => {
            Arc::new(Field::new(field.name(), value.as_ref().clone(), true))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// An export under way, and what came of it so far.
pub struct Export {
    /// Fetcher and decode pool.
    pub engine: Arc<Engine>,
    /// What relative references are relative to.
    pub base: Option<Url>,
    /// The splits.
    pub splits: Splits,
    /// Seed of the splits.
    pub seed: u64,
    /// What the sinks know.
    pub plan: Arc<Plan>,
    /// Places of the rows that are kept of each class; `None` is all.
    pub chosen: Option<HashSet<u64>>,
    /// Rows that were read.
    pub read: u64,
    /// Whether pictures without a label are a class.
    pub unlabelled: bool,
    /// The column that says why an image failed.
    pub error: Option<String>,
    /// The column that says who decided.
    pub source: Option<String>,
    /// Pictures by split and class.
    pub counts: Vec<Vec<u64>>,
    /// Rows that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Licences of the pictures.
    pub licences: Licences,
    /// Pictures about which a person decided.
    pub people: u64,
    /// Pictures.
    pub number: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Columns beside the image.
    pub schema: SchemaRef,
}

/// A picture that was read.
struct Got {
    bytes: Bytes,
    info: ImageInfo,
}

impl Export {
    /// Writes all rows in their order.
    ///
    /// # Errors
    /// [`AppError::Run`] while reading, [`AppError::File`] while writing. An image that fails is left out and counted.
    pub async fn run(&mut self, labelled: &Labels, form: Form) -> Result<(), AppError> {
        let mut columns: Vec<Expr> = vec![plain(&self.plan.image)];
        columns.extend(self.schema.fields().iter().map(|field| plain(field.name())));
        let mut stream = labelled.stream(columns).await?;
        let mut sink = Sink::new(form, &self.plan, &self.schema)?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(AppError::Run)?;
            let (items, rows) = self.items(labelled, &batch).await?;
            sink = disk::blocking(move || {
                sink.write(&items, &rows)?;
                Ok(sink)
            })
            .await?;
        }
        disk::blocking(move || sink.finish()).await
    }

    /// The pictures of a batch that are exported, and its rows without images.
    async fn items(
        &mut self,
        labelled: &Labels,
        batch: &RecordBatch,
    ) -> Result<(Vec<Item>, RecordBatch), AppError> {
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
        if self.base.is_none() {
            for source in wanted.iter().flatten() {
                labelled.check_folder(source)?;
            }
        }
        let (engine, base) = (&self.engine, self.base.as_ref());
        let read: Vec<Result<Got, String>> = stream::iter(wanted)
            .map(|source| async move {
                match source {
                    Ok(source) => read(engine, base, source).await,
                    Err(reason) => Err(reason.to_string()),
                }
            })
            .buffered(engine.in_flight(None))
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
        self.licences.count(columns);
        let source = self
            .source
            .as_deref()
            .and_then(|name| rows.column_by_name(name));
        let source = source.and_then(|source| source.as_string_opt::<i32>());
        let person = source.is_some_and(|s| s.is_valid(row) && s.value(row) == "person");
        self.people += u64::from(person);
    }
}

async fn read(engine: &Engine, base: Option<&Url>, source: ImageSource) -> Result<Got, String> {
    let failed = |error: picsift_images::ImageError| format!("{}: {}", error.stage(), error.kind());
    if let ImageSource::Reference(reference) = &source
        && base.is_none()
        && !is_absolute(reference)
    {
        return Err("the folder of its table is not known; --base names it".to_string());
    }
    let bytes = engine.load_bytes(source, ReferenceOrigin::Table(base));
    let bytes = bytes.await.map_err(failed)?;
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
