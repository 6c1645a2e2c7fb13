//! A labelled table: the output of `picsift label`, or any table with columns `is_...` and `score_...`.
//!
//! Owns which columns of a table are answers, to which question, and where its images lie; what is made of them (an
//! evaluation, a gallery, an export) is decided elsewhere. The manifest says it all where there is one; without it names
//! and types do.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext};
use object_store::{ObjectStore, ObjectStoreExt};
use picsift_images::{is_absolute, shown};
use picsift_udf::{CLASH_PREFIX, ImageSource, is_string, table_base};
use serde_json::Value;
use url::Url;

use super::base::{self, Base};
use super::columns::image_column;
use super::manifest::Manifest;
use super::objects;
use crate::batches;
use crate::error::AppError;
use crate::tables::{self, FileTable, MANIFEST};

/// Key of a Parquet file's metadata under which it carries the manifest of the table that it was taken from.
pub const METADATA: &str = "picsift";

/// A table with answers in it.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use picsift::dataset::Labels;
/// use picsift::sql::{Session, SessionOptions};
/// # use picsift::label::{Cancel, LabelJob, LabelOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let labelled = folder.path().join("labelled").to_string_lossy().into_owned();
/// # let options = LabelOptions::new(["datasets/photos/references"], &labelled)
/// #     .with_categories(["dog"])
/// #     .with_limit(10);
/// # LabelJob::plan(options).await?.run(|_| (), &Cancel::default()).await?;
/// let session = Session::new(SessionOptions::default()).await?;
/// let labels = Labels::open(session.context(), &[labelled]).await?;
/// assert_eq!(labels.categories[0].name, "dog");
/// assert_eq!(labels.frame.count().await?, 10);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Labels {
    /// The table.
    pub table: Arc<FileTable>,
    /// Its rows.
    pub frame: DataFrame,
    /// Its columns.
    pub schema: SchemaRef,
    /// The categories that were asked for, in the order of their columns; none only after [`Labels::open_any`].
    pub categories: Vec<LabelledCategory>,
    /// What the job wrote down, of the first table.
    pub manifest: Option<Manifest>,
    /// The column of the images, where there still is one.
    pub image: Option<String>,
    /// The folder that relative references are relative to: that of the table that was labelled, if it is this one's or holds it, or
    /// without a manifest this one's. `None` where tables of several folders were labelled together, or elsewhere.
    pub base: Option<Url>,
    /// The table that was labelled, where it lies elsewhere and so may not be named by this one.
    elsewhere: Option<String>,
    /// The columns about a whole row.
    pub columns: RowColumns,
    /// Whether its answers were members of objects, as `picsift image` prints them, and so are no columns of the files.
    pub of_objects: bool,
    /// The tables as a person would write them.
    pub shown: String,
}

/// One category's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledCategory {
    /// Its name; without a manifest what follows `is_`.
    pub name: String,
    /// The question as it was put to the model, for a model that reads one.
    pub prompt: Option<String>,
    /// Score from which it held, where that is known.
    pub threshold: Option<f32>,
    /// Its BOOLEAN column.
    pub is_column: String,
    /// Its column of scores, where it has one.
    pub score_column: Option<String>,
}

/// Names of the columns about a whole row, where the table has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowColumns {
    /// `LIST<UTF8>`: all categories that hold.
    pub labels: Option<String>,
    /// UTF8: the best of them.
    pub label: Option<String>,
    /// UTF8: JSON of category to boolean.
    pub answers: Option<String>,
    /// UTF8: who decided, `model` or `person`.
    pub source: Option<String>,
    /// STRUCT: why the image failed.
    pub error: Option<String>,
}

impl Labels {
    /// Opens the tables at `inputs` (outputs of `picsift label`, folders, files, globs) as one.
    ///
    /// # Errors
    /// [`AppError::Plan`] for what is no table, [`AppError::Usage`] for a table without answers or tables with different ones,
    /// [`AppError::Object`] for a manifest that cannot be read.
    pub async fn open(context: &SessionContext, inputs: &[String]) -> Result<Self, AppError> {
        let opened = Self::open_any(context, inputs).await?;
        match opened.categories.is_empty() {
            false => Ok(opened),
            true => Err(AppError::Usage(format!(
                "{} has no answers: no BOOLEAN column is called is_...; label it first with picsift label",
                opened.shown
            ))),
        }
    }

    /// The same of tables that need not be labelled yet: then there are no categories.
    ///
    /// # Errors
    /// As [`Labels::open`], but for a table without answers.
    pub async fn open_any(context: &SessionContext, inputs: &[String]) -> Result<Self, AppError> {
        let locations = inputs
            .iter()
            .map(|input| tables::locate(input))
            .collect::<Result<Vec<_>, _>>()
            .map_err(AppError::Plan)?;
        let state = context.state();
        let table = tables::open(&state, &locations)
            .await
            .map_err(AppError::Plan)?;
        let provider = Arc::clone(&table) as Arc<dyn TableProvider>;
        let frame = context.read_table(provider).map_err(AppError::Plan)?;
        let objects = match of_schema(frame.schema().as_arrow()).is_empty() {
            true => objects::categories(frame.schema().as_arrow()),
            false => Vec::new(),
        };
        let frame = match objects.is_empty() {
            true => frame,
            false => objects::with_columns(frame, &objects).map_err(AppError::Plan)?,
        };
        let schema = SchemaRef::new(frame.schema().as_arrow().clone());
        let shown = locations
            .iter()
            .map(tables::shown)
            .collect::<Vec<_>>()
            .join(", ");

        let mut manifests = Vec::new();
        for location in &locations {
            let store = context
                .runtime_env()
                .object_store(location)
                .map_err(AppError::Plan)?;
            let found = manifest(store.as_ref(), location).await?;
            manifests.extend(match found {
                None => carried(&state, location).await?,
                found => found,
            });
        }
        let all_have_one = manifests.len() == locations.len();
        let (categories, base, image) = match manifests.first() {
            Some(first) if all_have_one => {
                let categories = of_manifest(first);
                for other in &manifests[1..] {
                    if of_manifest(other) != categories {
                        return Err(AppError::Usage(format!(
                            "{shown} were not labelled alike: their categories, prompts or thresholds differ; take one at a time"
                        )));
                    }
                }
                (
                    categories,
                    base::named(locations.iter().zip(&manifests)),
                    Some(first.input.image_column.clone()),
                )
            }
            _ if !objects.is_empty() => (objects.clone(), own_folder(&locations), None),
            _ => (of_schema(&schema), own_folder(&locations), None),
        };
        for category in &categories {
            let columns = [Some(&category.is_column), category.score_column.as_ref()];
            for column in columns.into_iter().flatten() {
                if schema.column_with_name(column).is_none() {
                    return Err(AppError::Usage(format!(
                        "{shown} has no column '{column}' although its {MANIFEST} names it"
                    )));
                }
            }
        }
        let image = match image {
            Some(column) => schema.column_with_name(&column).map(|_| column),
            None => image_column(&schema, None).ok(),
        };
        let (base, elsewhere) = match base {
            Base::At(folder) => (Some(folder), None),
            Base::Several => (None, None),
            Base::Elsewhere(table) => (None, Some(table)),
        };
        Ok(Self {
            columns: RowColumns::of(&schema),
            manifest: all_have_one.then(|| manifests.swap_remove(0)),
            table,
            frame,
            schema,
            categories,
            image,
            base,
            elsewhere,
            of_objects: !objects.is_empty(),
            shown,
        })
    }
}

/// The folder that tables without a manifest lie in.
fn own_folder(locations: &[ListingTableUrl]) -> Base {
    let first = locations.first().and_then(table_base);
    first.map_or(Base::Several, Base::At)
}

impl LabelledCategory {
    /// What stands behind `is_` in the name of its column.
    pub fn stem(&self) -> &str {
        stem(&self.is_column)
    }
}

/// What stands behind `is_` in the name of a category's column.
pub fn stem(column: &str) -> &str {
    let column = column.strip_prefix(CLASH_PREFIX).unwrap_or(column);
    column.strip_prefix("is_").unwrap_or(column)
}

impl Labels {
    /// What a person should know of the table: files that were left out.
    pub fn note(&self) -> Option<&str> {
        self.table.note()
    }

    /// These columns of all rows, in their order where the session has one stream; few rows at a time, as their images
    /// are held together.
    ///
    /// # Errors
    /// [`AppError::Plan`] for a column that is not there, [`AppError::Run`] when reading cannot begin.
    pub async fn stream(&self, columns: Vec<Expr>) -> Result<SendableRecordBatchStream, AppError> {
        let frame = self.frame.clone().select(columns);
        let stream = batches::image_stream(frame.map_err(AppError::Plan)?).await;
        stream.map_err(AppError::Run)
    }

    /// Refuses an image that could only be found in a folder that this table names and may not.
    ///
    /// # Errors
    /// [`AppError::Usage`], which says what the person may name instead.
    pub fn check_folder(&self, image: &ImageSource) -> Result<(), AppError> {
        let ImageSource::Reference(reference) = image else {
            return Ok(());
        };
        let Some(elsewhere) = self
            .elsewhere
            .as_deref()
            .filter(|_| !is_absolute(reference))
        else {
            return Ok(());
        };
        let (table, reference) = (shown(elsewhere), shown(reference));
        Err(AppError::Usage(format!(
            "{} says that it was labelled from '{table}', which neither is its own folder nor holds that, so the image '{reference}' is \
             not read from there on its word; if it lies there, name the folder with --base",
            self.shown
        )))
    }

    /// Model, revision, device and so on, as the manifest has them.
    pub fn model(&self) -> Option<&Value> {
        self.manifest.as_ref().map(|manifest| &manifest.model)
    }
}

impl RowColumns {
    fn of(schema: &Schema) -> Self {
        // As `AddedColumns` names them: with the prefix where the table had that name itself.
        let own = |name: &str, fits: fn(&DataType) -> bool| {
            [format!("{CLASH_PREFIX}{name}"), name.to_string()]
                .into_iter()
                .find(|name| {
                    schema
                        .field_with_name(name)
                        .is_ok_and(|field| fits(field.data_type()))
                })
        };
        Self {
            labels: own("labels", |t| matches!(t, DataType::List(_))),
            label: own("label", is_string),
            answers: own("answers", is_string),
            source: own("label_source", is_string),
            error: own("picsift_error", |t| matches!(t, DataType::Struct(_))),
        }
    }
}

/// The folder that relative references of the table at `location`, in `store`, belong to: of an output of `picsift label` that of the
/// table that was labelled, where the output may name it; else the table's own.
pub async fn base_of(store: &dyn ObjectStore, location: &ListingTableUrl) -> Option<Url> {
    // What cannot be read is told when the table's files are listed.
    if let Ok(Some(manifest)) = manifest(store, location).await
        && let Base::At(folder) = base::named([(location, &manifest)])
    {
        return Some(folder);
    }
    table_base(location)
}

/// The values of a column of text, whatever its encoding.
///
/// # Errors
/// Arrow's, for what is no text and cannot be shown as one.
pub fn texts(column: &dyn Array) -> datafusion::common::Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

async fn manifest(
    store: &dyn ObjectStore,
    location: &ListingTableUrl,
) -> Result<Option<Manifest>, AppError> {
    if !location.is_collection() || location.get_glob().is_some() {
        return Ok(None);
    }
    let place = || format!("{}{MANIFEST}", tables::shown(location));
    let failed = |source| AppError::Object {
        action: "read",
        place: place(),
        source,
    };
    // Joined as the store does it: what the folder is called may not be written a second time.
    let path = location.prefix().clone().join(MANIFEST);
    let bytes = match store.get(&path).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        found => found.map_err(failed)?.bytes().await.map_err(failed)?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        AppError::Usage(format!(
            "{} is no manifest of this version of picsift: {error}",
            place()
        ))
    })
}

/// The manifest that a file carries in its own metadata, as samples do.
async fn carried(
    state: &SessionState,
    location: &ListingTableUrl,
) -> Result<Option<Manifest>, AppError> {
    let schema = tables::stored_schema(state, location)
        .await
        .map_err(AppError::Plan)?;
    let text = schema.and_then(|schema| schema.metadata().get(METADATA).cloned());
    // Whatever else others keep under that key is none of ours.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn of_manifest(manifest: &Manifest) -> Vec<LabelledCategory> {
    manifest
        .categories
        .iter()
        .map(|category| LabelledCategory {
            name: category.name.clone(),
            prompt: category.prompt.clone(),
            threshold: Some(category.threshold),
            is_column: category.is_column.clone(),
            score_column: Some(category.score_column.clone()),
        })
        .collect()
}

fn of_schema(schema: &Schema) -> Vec<LabelledCategory> {
    let is = |name: &str| {
        let name = name.strip_prefix(CLASH_PREFIX).unwrap_or(name);
        name.strip_prefix("is_").map(str::to_string)
    };
    let booleans = schema
        .fields()
        .iter()
        .filter(|field| *field.data_type() == DataType::Boolean);
    booleans
        .filter_map(|field| {
            let name = is(field.name())?;
            let score = [
                format!("{CLASH_PREFIX}score_{name}"),
                format!("score_{name}"),
            ];
            let score_column = score.into_iter().find(|score| {
                schema
                    .field_with_name(score)
                    .is_ok_and(|field| field.data_type().is_floating())
            });
            Some(LabelledCategory {
                name,
                prompt: None,
                threshold: None,
                is_column: field.name().clone(),
                score_column,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn without_a_manifest_names_and_types_say_what_an_answer_is() {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let schema = Schema::new(vec![
            field("is_dog", DataType::Boolean),
            field("score_dog", DataType::Float32),
            field("picsift_is_cat", DataType::Boolean),
            field("is_cat", DataType::Utf8),
            field("is_new", DataType::Boolean),
            field("label", DataType::Int64),
            field("picsift_label", DataType::Utf8),
        ]);
        let found: Vec<_> = of_schema(&schema)
            .into_iter()
            .map(|category| (category.name, category.is_column, category.score_column))
            .collect();
        let text = str::to_string;
        assert_eq!(
            found,
            [
                (text("dog"), text("is_dog"), Some(text("score_dog"))),
                (text("cat"), text("picsift_is_cat"), None),
                (text("new"), text("is_new"), None),
            ]
        );
        assert_eq!(
            RowColumns::of(&schema),
            RowColumns {
                label: Some(text("picsift_label")),
                ..RowColumns::default()
            }
        );
    }
}
