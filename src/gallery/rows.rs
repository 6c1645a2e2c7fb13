//! From the rows of a table to the files of a gallery: images fetched and made small, a bounded number at once, rows in order.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::common::Result as DataFusionResult;
use futures::{StreamExt, TryStreamExt, stream};
use picsift_images::ImageError;
use picsift_udf::{
    Engine, ImageKey, ImageSource, Losses, ReferenceOrigin, image_names, image_sources,
};
use url::Url;

use super::beside;
use super::data::{self, CHUNK, Column, Failure, NAMES, Row, code};
use crate::dataset::folder;
use crate::dataset::labels::{Labels, texts};
use crate::disk;
use crate::error::AppError;
use crate::eval::truth::{Said, Truth, said};
use crate::eval::words::Words;

/// Longer side of a thumbnail in pixels: sharp at the size in which pages show it.
const THUMB: u32 = 192;
/// Longer side of a larger copy.
const PICTURE: u32 = 1024;

/// How rows become files.
pub struct Making<'a> {
    /// Fetcher and decode pool.
    pub engine: &'a Arc<Engine>,
    /// The table.
    pub labelled: &'a Labels,
    /// The column of its images.
    pub image: &'a str,
    /// What relative references are relative to.
    pub base: Option<Url>,
    /// The table's other columns that are shown.
    pub columns: Vec<String>,
    /// Where truth stands, if it is known.
    pub truth: Option<Truth>,
    /// Whether larger copies are made.
    pub pictures: bool,
    /// Keys of images that people corrected in the gallery that was there.
    pub corrected: HashSet<String>,
    /// The folder that is written.
    pub folder: &'a Path,
    /// What a person sees meanwhile.
    pub made: &'a (dyn Fn() + Sync),
}

/// What was made.
#[derive(Debug, Default)]
pub struct Made {
    /// Rows.
    pub rows: usize,
    /// Numbers of the rows whose image failed.
    pub errors: Vec<usize>,
    /// Why they did.
    pub losses: Losses,
    /// The categories' columns.
    pub columns: Vec<Column>,
    /// Bytes of the copies.
    pub bytes: u64,
    /// Rows whose reference may hold a credential.
    pub credentials: usize,
    /// First rows of the images that [`Making::corrected`] names.
    pub corrected: HashMap<String, usize>,
}

/// One row before its image is looked at.
struct Pending {
    image: Option<ImageSource>,
    name: Option<String>,
    label: Option<String>,
    error: Option<Failure>,
    columns: Vec<Option<String>>,
}

impl Making<'_> {
    /// Writes thumbnails and scripts of all rows that `stream` gives, in their order.
    ///
    /// # Errors
    /// [`AppError::Run`] while reading, [`AppError::File`] while writing. An image that fails is its row's.
    pub async fn run(
        &self,
        rows: datafusion::execution::SendableRecordBatchStream,
    ) -> Result<Made, AppError> {
        let mut made = Made {
            columns: self
                .labelled
                .categories
                .iter()
                .map(|_| Column::default())
                .collect(),
            ..Made::default()
        };
        let mut words = Words::new(&self.labelled.categories);
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut names = Vec::new();
        let mut rows = rows;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(AppError::Run)?;
            self.note(&batch, &mut made.columns, &mut words)
                .map_err(AppError::Run)?;
            let pending = self.pending(&batch).map_err(AppError::Run)?;
            let first = made.rows;
            let mut looked = stream::iter(pending.into_iter().enumerate())
                .map(|(place, row)| self.look(first + place, row))
                .buffered(self.engine.in_flight(None));
            while let Some((row, bytes)) = looked.try_next().await? {
                made.losses.note_image();
                if let Some(error) = &row.error {
                    made.errors.push(made.rows);
                    let (stage, kind) = (error.stage.clone(), error.kind.clone());
                    let reference = row.reference.clone();
                    made.losses
                        .note_reason(stage.into(), kind.into(), &error.message, reference);
                }
                made.credentials += usize::from(picsift_images::may_hold_credential(&row.key));
                if self.corrected.contains(&row.key) {
                    made.corrected.entry(row.key.clone()).or_insert(made.rows);
                }
                made.bytes += bytes;
                made.rows += 1;
                names.push(row.called().to_owned());
                chunk.push(row);
                (self.made)();
                if chunk.len() == CHUNK {
                    self.write(made.rows / CHUNK - 1, &mut chunk)?;
                }
                if names.len() == NAMES {
                    self.write_names(made.rows / NAMES - 1, &mut names)?;
                }
            }
        }
        if !chunk.is_empty() {
            self.write(made.rows / CHUNK, &mut chunk)?;
        }
        if !names.is_empty() {
            self.write_names(made.rows / NAMES, &mut names)?;
        }
        Ok(made)
    }

    fn write(&self, number: usize, chunk: &mut Vec<Row>) -> Result<(), AppError> {
        self.write_script("rows", number, &chunk)?;
        if !self.columns.is_empty() {
            let values: Vec<_> = chunk.iter().map(|row| &row.columns).collect();
            self.write_script("columns", number, &values)?;
        }
        chunk.clear();
        Ok(())
    }

    fn write_names(&self, number: usize, names: &mut Vec<String>) -> Result<(), AppError> {
        self.write_script("names", number, &names)?;
        names.clear();
        Ok(())
    }

    fn write_script(
        &self,
        kind: &str,
        number: usize,
        value: &impl serde::Serialize,
    ) -> Result<(), AppError> {
        let text = data::script(kind, &format!("{number},"), value).map_err(AppError::json)?;
        let name = format!("data/{kind}-{number}.js");
        tokio::task::block_in_place(|| folder::write(self.folder, &name, text)).map(|_| ())
    }

    /// Notes the answers of a batch.
    fn note(
        &self,
        batch: &RecordBatch,
        columns: &mut [Column],
        words: &mut Words,
    ) -> DataFusionResult<()> {
        let rows = batch.num_rows();
        let find = |name: &str| batch.column_by_name(name);
        let person: Option<Vec<bool>> = match self.labelled.columns.source.as_deref().and_then(find)
        {
            Some(source) => Some(texts(source)?.iter().map(|s| s == Some("person")).collect()),
            None => None,
        };
        let said = match &self.truth {
            None => None,
            Some(truth) => {
                let all: Vec<usize> = (0..columns.len()).collect();
                let named = truth.columns(&all);
                let named: Vec<_> = named
                    .iter()
                    .filter_map(|name| find(name).cloned())
                    .collect();
                let Said { holds, .. } = said(truth, &all, &named, rows, words)?;
                Some(holds)
            }
        };
        for (index, (category, column)) in self.labelled.categories.iter().zip(columns).enumerate()
        {
            let scores = match category.score_column.as_deref().and_then(find) {
                Some(scores) => Some(cast(scores, &DataType::Float32)?),
                None => None,
            };
            let scores = scores.as_ref().map(|s| s.as_primitive::<Float32Type>());
            let answers = find(&category.is_column).map(|answers| answers.as_boolean());
            for row in 0..rows {
                let score = scores.filter(|s| s.is_valid(row)).map(|s| s.value(row));
                column.scores.push(score.unwrap_or(f32::NAN));
                let answer = answers.filter(|a| a.is_valid(row)).map(|a| a.value(row));
                column.answers.push(code(answer));
                if let Some(person) = &person {
                    // The table says it of rows: a person's are the answers that the score does not give.
                    let model = score.zip(category.threshold).map(|(s, t)| s >= t);
                    let decided = person[row] && answer != model;
                    column.source.get_or_insert_default().push(decided.into());
                }
            }
            if let Some(holds) = &said {
                let known = holds[index].iter().map(code);
                column.truth.get_or_insert_default().extend(known);
            }
        }
        Ok(())
    }

    fn pending(&self, batch: &RecordBatch) -> DataFusionResult<Vec<Pending>> {
        let find = |name: &Option<String>| name.as_deref().and_then(|n| batch.column_by_name(n));
        let Some(images) = batch.column_by_name(self.image) else {
            return Ok(Vec::new());
        };
        let labels = match find(&self.labelled.columns.label) {
            Some(labels) => Some(texts(labels)?),
            None => None,
        };
        let errors = find(&self.labelled.columns.error).map(|errors| errors.as_struct());
        let sources = image_sources(images)?;
        let names = image_names(images)?;
        let columns = beside::texts(batch, &self.columns)?;
        let rows = sources.into_iter().zip(names).zip(columns).enumerate();
        Ok(rows
            .map(|(row, ((image, name), columns))| Pending {
                columns,
                image,
                name,
                label: labels.as_ref().and_then(|labels| text(labels, row)),
                error: errors.and_then(|errors| failure(errors, row)),
            })
            .collect())
    }

    /// Makes the copies of one image; its row, and the bytes that were written.
    async fn look(&self, number: usize, row: Pending) -> Result<(Row, u64), AppError> {
        let mut entry = Row {
            key: row.name.clone().unwrap_or_default(),
            reference: row.name.as_deref().map(picsift_images::shown),
            label: row.label,
            error: row.error,
            width: None,
            height: None,
            columns: row.columns,
        };
        let Some(image) = row.image else {
            entry.error.get_or_insert(Failure {
                stage: "fetch".to_string(),
                kind: "null".to_string(),
                message: "the row has no image".to_string(),
            });
            return Ok((entry, 0));
        };
        if self.base.is_none() {
            self.labelled.check_folder(&image)?;
        }
        match self.copies(image, row.name.as_deref(), &mut entry).await {
            Ok(copies) => {
                let folder = self.folder.to_path_buf();
                let names: Vec<_> = ["thumbs", "pictures"]
                    .iter()
                    .map(|kind| format!("{kind}/{:03}/{number:06}.jpg", number / 1000))
                    .collect();
                let mut bytes = 0;
                disk::blocking(move || {
                    // The thumbnail is the last and smallest.
                    for (name, jpeg) in names.iter().zip(copies.iter().rev()) {
                        bytes += folder::write(&folder, name, jpeg)?;
                    }
                    Ok(bytes)
                })
                .await
                .map(|bytes| (entry, bytes))
            }
            Err(error) => {
                let message = error.to_string();
                entry.error.get_or_insert(Failure {
                    stage: error.stage().to_string(),
                    kind: error.kind().to_string(),
                    message: match &self.base {
                        Some(base) => picsift_images::beside(&message, base),
                        None => message,
                    },
                });
                Ok((entry, 0))
            }
        }
    }

    async fn copies(
        &self,
        image: ImageSource,
        name: Option<&str>,
        entry: &mut Row,
    ) -> Result<Vec<Vec<u8>>, ImageError> {
        let pool = self.engine.pool();
        if let Some(key) = ImageKey::in_pool(name, Some(&image), pool).await? {
            entry.key = key.into();
        }
        let origin = ReferenceOrigin::Table(self.base.as_ref());
        let bytes = self.engine.load_bytes(image, origin).await?;
        let sides: &'static [u32] = match self.pictures {
            true => &[PICTURE, THUMB],
            false => &[THUMB],
        };
        let copies = pool.display_copies(bytes, sides).await?;
        (entry.width, entry.height) = (Some(copies.width), Some(copies.height));
        Ok(copies.jpegs)
    }
}

fn text(texts: &StringArray, row: usize) -> Option<String> {
    texts.is_valid(row).then(|| texts.value(row).to_string())
}

fn failure(errors: &StructArray, row: usize) -> Option<Failure> {
    if errors.is_null(row) {
        return None;
    }
    let part = |name: &str| {
        let part = errors.column_by_name(name)?.as_string_opt::<i32>()?;
        text(part, row)
    };
    Some(Failure {
        stage: part("stage").unwrap_or_default(),
        kind: part("kind").unwrap_or_default(),
        message: part("message").unwrap_or_default(),
    })
}
