//! Corrections that people made: a file of key, category and yes or no, as the gallery saves it.
//!
//! Owns the file's form and whether it fits a table; that a correction wins over the model is the operator's to know
//! (`picsift_udf::Corrections`). The key of an image is what the table calls it, or `sha256:` and a digest. [`kept`] is the file that a
//! gallery keeps.

pub mod kept;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use picsift_udf::{Corrections, ImageKey, image_names, image_sources, is_text};
use serde::{Deserialize, Serialize};

use crate::batches;
use crate::error::AppError;
use crate::session;
use crate::tables::{self, name_of, plain};

/// A file of corrections.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub corrections: Arc<Corrections>,
    /// The file as a person would write it.
    pub shown: String,
    /// Key and category of the first lines that say yes and no at one time, or at no time that is known; of these the last holds.
    pub contradiction: Option<(String, String)>,
}

/// How corrections fit a job.
#[derive(Debug)]
pub struct Fit {
    /// Images that are in both.
    pub matched: usize,
    /// What fits and what does not, in words.
    pub notes: Vec<String>,
}

/// What a manifest says of the corrections that a job applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionsEntry {
    /// The file.
    pub file: String,
    /// SHA-256 of what it says of the job's categories.
    pub digest: String,
    /// Images it is about.
    pub images: usize,
    /// Those of them that are in the table.
    pub matched: usize,
}

/// Reads the file: Parquet, CSV or JSON lines with the columns `key`, `category` and `is`. Of several lines about one image and category
/// the one with the latest `when` holds, of equals the last.
///
/// # Errors
/// A sentence, when it cannot be read, lacks a column, or a line lacks a value.
pub async fn load(file: &str) -> Result<Loaded, AppError> {
    let context = session::of_columns(1)?;
    let location = tables::locate(file).map_err(AppError::Plan)?;
    let shown = tables::shown(&location);
    let table = tables::open(&context.state(), &[location])
        .await
        .map_err(AppError::Plan)?;
    let frame = context.read_table(table).map_err(AppError::Plan)?;
    let columns = columns(frame.schema().as_arrow(), &shown)?;
    let mut stream = frame
        .select(columns)
        .map_err(AppError::Plan)?
        .execute_stream()
        .await
        .map_err(AppError::Run)?;
    let mut lines = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(AppError::Run)?;
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let (keys, names, when) = (text(0), text(1), text(3));
        let is = batch.column(2).as_boolean();
        for row in 0..batch.num_rows() {
            if keys.is_null(row) || names.is_null(row) || is.is_null(row) {
                return Err(AppError::Usage(format!(
                    "the corrections file {shown} is wrong: its row {} lacks key, category or is",
                    lines.len() + 1
                )));
            }
            let when = when.is_valid(row).then(|| when.value(row));
            let when = when.map(|text| time(text).ok_or(text)).transpose();
            let when = when.map_err(|text| {
                AppError::Usage(format!(
                    "the corrections file {shown} is wrong: in its row {} '{text}' is no time; a time is as in \
                     2026-01-31T23:59:59+01:00",
                    lines.len() + 1
                ))
            })?;
            let line = (
                keys.value(row).to_string(),
                names.value(row).to_string(),
                is.value(row),
            );
            lines.push((when, line));
        }
    }
    if lines.is_empty() {
        return Err(AppError::Usage(format!(
            "the corrections file {shown} has no rows"
        )));
    }
    // Stable: of equals the last stays last.
    lines.sort_by_key(|line| line.0);
    let contradiction = contradiction(&lines);
    let corrections = Corrections::new(lines.into_iter().map(|(_, line)| line));
    Ok(Loaded {
        corrections: Arc::new(corrections),
        shown,
        contradiction,
    })
}

/// A line's time, and what it says: key, category and yes or no.
type Line = (Option<i64>, (String, String, bool));

fn contradiction(lines: &[Line]) -> Option<(String, String)> {
    let mut said = HashMap::new();
    for (time, (key, category, is)) in lines {
        if *said.entry((time, key, category)).or_insert(*is) != *is {
            return Some((key.clone(), category.clone()));
        }
    }
    None
}

/// Nanoseconds since 1970, whatever the zone; without one it is UTC.
pub(crate) fn time(text: &str) -> Option<i64> {
    string_to_timestamp_nanos(text.trim()).ok()
}

fn columns(schema: &Schema, shown: &str) -> Result<Vec<Expr>, AppError> {
    let named = |name: &str, fits: fn(&DataType) -> bool, what: &str| match schema
        .field_with_name(name)
    {
        Ok(field) if fits(field.data_type()) => Ok(plain(name)),
        Ok(field) => Err(AppError::Usage(format!(
            "the corrections file {shown} is wrong: its column '{name}' is {}, not {what}",
            field.data_type()
        ))),
        Err(_) => Err(AppError::Usage(format!(
            "the corrections file {shown} has no column '{name}'; corrections have key, category and is"
        ))),
    };
    let text = |name| named(name, is_text, "text").map(|column| cast(column, DataType::Utf8));
    let when = match schema.field_with_name("when") {
        Ok(_) => plain("when"),
        Err(_) => lit(datafusion::common::ScalarValue::Utf8(None)),
    };
    Ok(vec![
        text("key")?,
        text("category")?,
        named("is", |t| *t == DataType::Boolean, "true or false")?,
        cast(when, DataType::Utf8).alias("when"),
    ])
}

impl Loaded {
    /// SHA-256 of what it says of these categories, in hexadecimal: the same for two files that say the same.
    pub fn digest(&self, categories: &[&str]) -> String {
        let all = self.corrections.all();
        let ours: Vec<_> = all
            .iter()
            .filter(|(_, category, _)| categories.contains(category))
            .collect();
        let text = serde_json::to_vec(&ours).unwrap_or_default();
        let digest = picsift_images::sha256(&text);
        picsift_images::hex(&digest)
    }

    /// Compares it with the images of `tables` and the categories that are asked for.
    ///
    /// # Errors
    /// [`AppError::Usage`] when nothing fits, [`AppError::Run`] when a table cannot be read.
    pub async fn check(
        &self,
        context: &SessionContext,
        tables: impl IntoIterator<Item = Arc<dyn TableProvider>>,
        image: &str,
        categories: &[&str],
    ) -> Result<Fit, AppError> {
        let mut notes = Vec::new();
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        let all = self.corrections.all();
        for (_, category, _) in &all {
            if !categories.contains(category) {
                *others.entry(category).or_default() += 1;
            }
        }
        let strange: usize = others.values().sum();
        let named: Vec<_> = others.keys().copied().collect();
        let named = named.join(", ");
        if strange == all.len() {
            return Err(AppError::Usage(format!(
                "no correction in {} is about a category that is asked for: they are about {named}",
                self.shown
            )));
        }
        if strange > 0 {
            notes.push(format!(
                "corrections: {strange} of {} are about categories that are not asked for: {named}",
                all.len()
            ));
        }
        let mut found = HashSet::new();
        let mut example = None;
        for table in tables {
            self.find(context, table, image, &mut found, &mut example)
                .await
                .map_err(AppError::Run)?;
        }
        let images = self.corrections.images();
        if found.is_empty() {
            return Err(AppError::Usage(format!(
                "none of the {images} images in {} is in the table: their keys look like '{}', the table's like {}",
                self.shown,
                all.first().map_or("", |(key, ..)| key),
                example.map_or("nothing".to_string(), |key| format!("'{key}'")),
            )));
        }
        notes.push(format!(
            "corrections: {} of {images} corrected images are in the table{}",
            found.len(),
            match images - found.len() {
                0 => String::new(),
                missing => format!(", {missing} are not"),
            }
        ));
        Ok(Fit {
            matched: found.len(),
            notes,
        })
    }

    /// Which of its keys the images of a table have; only what the keys are made of is read.
    async fn find(
        &self,
        context: &SessionContext,
        table: Arc<dyn TableProvider>,
        image: &str,
        found: &mut HashSet<String>,
        example: &mut Option<String>,
    ) -> datafusion::common::Result<()> {
        let schema = table.schema();
        let data_type = schema.field_with_name(image)?.data_type();
        let digests = self.corrections.has_digests();
        let column = match name_of(image, data_type) {
            // Bytes have to be read only where a correction may mean them.
            Some(name) if !digests => name,
            _ => plain(image),
        };
        let images = context.read_table(table)?.select(vec![column])?;
        let mut stream = batches::stream(images).await?;
        while let Some(batch) = stream.next().await {
            let column = batch?.column(0).clone();
            let images = match digests {
                true => image_sources(&column)?,
                false => vec![None; column.len()],
            };
            let rows = image_names(&column)?.into_iter().zip(images);
            let keys: Vec<ImageKey> = tokio::task::block_in_place(|| {
                rows.filter_map(|(name, image)| ImageKey::of(name.as_deref(), image.as_ref()))
                    .collect()
            });
            for key in keys.into_iter().map(String::from) {
                if self.corrections.contains(&key) {
                    found.insert(key);
                } else if example.is_none() {
                    *example = Some(key);
                }
            }
        }
        Ok(())
    }
}
