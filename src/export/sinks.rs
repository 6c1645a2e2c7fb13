//! The formats: WebDataset, ImageFolder and Parquet as Hugging Face `datasets` writes it.
//!
//! Each takes pictures in the order of the table and writes them as they are, without encoding them anew.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use parquet::arrow::ArrowWriter;
use serde_json::json;
use tar::{Builder, Header};

use super::item::Item;
use super::names;
use crate::dataset::folder;
use crate::error::AppError;
use crate::output::properties::properties;

/// Forms of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Tar files of pictures, classes and JSON, to be streamed.
    Webdataset,
    /// A folder of pictures for each class.
    Imagefolder,
    /// Parquet that holds the pictures, for Hugging Face `datasets`.
    Hf,
}

/// What all sinks know.
#[derive(Debug)]
pub struct Plan {
    /// Where files are written.
    pub folder: PathBuf,
    /// Names of the splits.
    pub splits: Vec<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Bytes of pictures in one shard, about.
    pub shard_bytes: u64,
    /// The image's column.
    pub image: String,
    /// The class's column.
    pub label: String,
}

/// One format being written.
pub enum Sink {
    /// See [`Form::Webdataset`].
    Webdataset(Vec<Tars>),
    /// See [`Form::Imagefolder`].
    Imagefolder(Folders),
    /// See [`Form::Hf`].
    Hf(Vec<Tables>),
}

impl Sink {
    /// Begins to write; `schema` is that of the rows without their images.
    ///
    /// # Errors
    /// [`AppError::File`].
    pub fn new(form: Form, plan: &Arc<Plan>, schema: &SchemaRef) -> Result<Self, AppError> {
        let splits = 0..plan.splits.len();
        Ok(match form {
            Form::Webdataset => {
                Self::Webdataset(splits.map(|split| Tars::new(plan, split)).collect())
            }
            Form::Imagefolder => Self::Imagefolder(Folders::new(plan)?),
            Form::Hf => {
                let schema = hf_schema(plan, schema);
                Self::Hf(
                    splits
                        .map(|split| Tables::new(plan, split, &schema))
                        .collect(),
                )
            }
        })
    }

    /// Writes the pictures of a batch; `rows` are its rows without images.
    ///
    /// # Errors
    /// [`AppError::File`] and Parquet's.
    pub fn write(&mut self, items: &[Item], rows: &RecordBatch) -> Result<(), AppError> {
        match self {
            Self::Webdataset(tars) => items.iter().try_for_each(|item| tars[item.split].add(item)),
            Self::Imagefolder(folders) => items.iter().try_for_each(|item| folders.add(item)),
            Self::Hf(tables) => {
                for (split, table) in tables.iter_mut().enumerate() {
                    let ours: Vec<&Item> = items.iter().filter(|i| i.split == split).collect();
                    table.add(&ours, rows)?;
                }
                Ok(())
            }
        }
    }

    /// Finishes all files.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn finish(self) -> Result<(), AppError> {
        match self {
            Self::Webdataset(tars) => tars.into_iter().try_for_each(Tars::finish),
            Self::Imagefolder(folders) => folders.finish(),
            Self::Hf(tables) => tables.into_iter().try_for_each(Tables::finish),
        }
    }
}

/// The end of a picture's name in a tar, whatever its format: readers make a column of each end that there is, and look at the content.
const PICTURE: &str = "jpg";

/// The tar files of one split.
pub struct Tars {
    plan: Arc<Plan>,
    split: usize,
    shards: usize,
    open: Option<(Builder<BufWriter<File>>, PathBuf)>,
    bytes: u64,
}

impl Tars {
    fn new(plan: &Arc<Plan>, split: usize) -> Self {
        Self {
            plan: Arc::clone(plan),
            split,
            shards: 0,
            open: None,
            bytes: 0,
        }
    }

    fn add(&mut self, item: &Item) -> Result<(), AppError> {
        if self.bytes >= self.plan.shard_bytes {
            self.close()?;
        }
        if self.open.is_none() {
            let name = format!("{}-{:06}.tar", self.plan.splits[self.split], self.shards);
            let path = self.plan.folder.join(name);
            let file = File::create(&path).map_err(AppError::file("write", &path))?;
            self.open = Some((Builder::new(BufWriter::new(file)), path));
            self.shards += 1;
            self.bytes = 0;
        }
        let Some((tar, path)) = &mut self.open else {
            return Ok(());
        };
        // Members of one name but for their ends are one sample, and the first dot ends the name.
        let key = format!("{:09}", item.number);
        let class = item.class.to_string();
        let mut rest = item.columns.clone();
        rest.insert("__name".to_string(), json!(item.name));
        let text = serde_json::to_string(&rest).map_err(AppError::json)?;
        for (end, bytes) in [
            (PICTURE, item.bytes.as_ref()),
            ("cls", class.as_bytes()),
            ("json", text.as_bytes()),
        ] {
            let mut header = Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            tar.append_data(&mut header, format!("{key}.{end}"), bytes)
                .map_err(AppError::file("write", &*path))?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), AppError> {
        if let Some((tar, path)) = self.open.take() {
            let file = tar.into_inner().map_err(AppError::file("write", &path))?;
            file.into_inner()
                .map_err(|error| AppError::file("write", &path)(error.into_error()))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), AppError> {
        self.close()
    }
}

/// The column of `metadata.jsonl` that says which picture a line is about.
const FILE_NAME: &str = "file_name";

/// A folder of pictures for each split and class, and what else is known in a `metadata.jsonl` for each split.
pub struct Folders {
    plan: Arc<Plan>,
    classes: Vec<String>,
    metadata: Vec<Option<(BufWriter<File>, PathBuf)>>,
}

impl Folders {
    fn new(plan: &Arc<Plan>) -> Result<Self, AppError> {
        Ok(Self {
            classes: names::folders(&plan.classes),
            metadata: plan.splits.iter().map(|_| None).collect(),
            plan: Arc::clone(plan),
        })
    }

    fn add(&mut self, item: &Item) -> Result<(), AppError> {
        let split = &self.plan.splits[item.split];
        let folder = self.plan.folder.join(split);
        let class = &self.classes[item.class];
        let stem = item
            .name
            .as_deref()
            .map_or(String::new(), |name| format!("_{}", names::stem(name)));
        let name = format!("{class}/{:09}{stem}.{}", item.number, item.extension);
        let path = folder.join(&name);
        folder::make(&self.plan.folder, &format!("{split}/{class}"))?;
        std::fs::write(&path, &item.bytes).map_err(AppError::file("write", &path))?;
        let metadata = &mut self.metadata[item.split];
        if metadata.is_none() {
            let path = folder.join("metadata.jsonl");
            let file = File::create(&path).map_err(AppError::file("write", &path))?;
            *metadata = Some((BufWriter::new(file), path));
        }
        if let Some((file, path)) = metadata {
            let mut line = names::without_file_names(item.columns.clone());
            line.insert(FILE_NAME.to_string(), json!(name));
            line.insert(
                self.plan.label.clone(),
                json!(self.plan.classes[item.class]),
            );
            let line = serde_json::to_string(&line).map_err(AppError::json)?;
            writeln!(file, "{line}").map_err(AppError::file("write", &*path))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), AppError> {
        for (mut file, path) in self.metadata.into_iter().flatten() {
            file.flush().map_err(AppError::file("write", path))?;
        }
        Ok(())
    }
}

/// The Parquet files of one split.
pub struct Tables {
    plan: Arc<Plan>,
    split: usize,
    schema: SchemaRef,
    open: Option<ArrowWriter<File>>,
    written: Vec<PathBuf>,
    bytes: u64,
}

impl Tables {
    fn new(plan: &Arc<Plan>, split: usize, schema: &SchemaRef) -> Self {
        Self {
            plan: Arc::clone(plan),
            split,
            schema: Arc::clone(schema),
            open: None,
            written: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, items: &[&Item], rows: &RecordBatch) -> Result<(), AppError> {
        if items.is_empty() {
            return Ok(());
        }
        if self.bytes >= self.plan.shard_bytes {
            self.close()?;
        }
        let schema = &self.schema;
        let writer = match &mut self.open {
            Some(writer) => writer,
            closed => {
                let name = format!(
                    "part-{}-{:05}",
                    self.plan.splits[self.split],
                    self.written.len()
                );
                let path = folder::make(&self.plan.folder, "data")?.join(name);
                let file = File::create(&path).map_err(AppError::file("write", &path))?;
                self.written.push(path);
                self.bytes = 0;
                let writer =
                    ArrowWriter::try_new(file, Arc::clone(schema), Some(properties(schema)));
                closed.insert(writer.map_err(failed)?)
            }
        };
        self.bytes += items
            .iter()
            .map(|item| item.bytes.len() as u64)
            .sum::<u64>();
        writer
            .write(&hf_batch(items, rows, schema)?)
            .map_err(failed)
    }

    fn close(&mut self) -> Result<(), AppError> {
        if let Some(writer) = self.open.take() {
            writer.close().map_err(failed)?;
        }
        Ok(())
    }

    /// Only now is it known of how many files each is one.
    fn finish(mut self) -> Result<(), AppError> {
        self.close()?;
        let count = self.written.len();
        for (index, path) in self.written.iter().enumerate() {
            let name = format!(
                "{}-{index:05}-of-{count:05}.parquet",
                self.plan.splits[self.split]
            );
            let target = path.parent().unwrap_or(Path::new(".")).join(name);
            std::fs::rename(path, &target).map_err(AppError::file("write", &target))?;
        }
        Ok(())
    }
}

fn image_fields() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

/// Image, class, then the other columns, with the metadata that `datasets` reads.
fn hf_schema(plan: &Plan, rows: &SchemaRef) -> SchemaRef {
    let mut fields = vec![
        Arc::new(Field::new(
            &plan.image,
            DataType::Struct(image_fields()),
            true,
        )),
        Arc::new(Field::new(&plan.label, DataType::Int64, true)),
    ];
    fields.extend(
        rows.fields()
            .iter()
            .filter(|f| *f.name() != plan.label)
            .cloned(),
    );
    let mut features = serde_json::Map::new();
    for field in &fields {
        let feature = match field.name() {
            name if *name == plan.image => json!({"_type": "Image"}),
            name if *name == plan.label => json!({"names": plan.classes, "_type": "ClassLabel"}),
            _ => crate::output::huggingface::feature(field),
        };
        features.insert(field.name().clone(), feature);
    }
    let text = json!({"info": {"features": features}}).to_string();
    let metadata = [("huggingface".to_string(), text)].into_iter().collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn hf_batch(
    items: &[&Item],
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, AppError> {
    let arrow = |error| AppError::Run(DataFusionError::from(error));
    let places = items.iter().map(|item| item.row as u64);
    let rows = take_record_batch(rows, &UInt64Array::from_iter_values(places)).map_err(arrow)?;
    let bytes: BinaryArray = items.iter().map(|item| Some(item.bytes.as_ref())).collect();
    let paths: StringArray = items
        .iter()
        .map(|item| {
            let stem = item.name.as_deref().map(names::stem);
            let stem = stem.unwrap_or_else(|| format!("{:09}", item.number));
            Some(format!("{stem}.{}", item.extension))
        })
        .collect();
    let images = StructArray::try_new(image_fields(), vec![Arc::new(bytes), Arc::new(paths)], None);
    let classes: Int64Array = items.iter().map(|item| Some(item.class as i64)).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(images.map_err(arrow)?), Arc::new(classes)];
    for field in &schema.fields()[2..] {
        if let Some(column) = rows.column_by_name(field.name()) {
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(arrow)
}

fn failed(error: parquet::errors::ParquetError) -> AppError {
    AppError::Run(DataFusionError::from(error))
}
