//! A labelling job, checked: every mistake in the command or its input that can be found without reading an image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::listing::{ListingTable, ListingTableUrl};
use datafusion::prelude::{DataFrame, SessionContext};
use picsift_udf::{
    AddedColumns, Allowance, Annotation, AtEnd, Engine, Labelling, OnError, RunStats,
    output_schema, table_base,
};
use picsift_vision::Service;
use url::Url;

use super::categories::{JobCategory, categories};
use super::columns::image_column;
use crate::cli::{ImageColumn, LabelArgs, ModelArgs};
use crate::error::AppError;
use crate::output::{huggingface, publish};
use crate::{session, tables};

/// Tables in one folder, read as one.
#[derive(Debug)]
pub struct Source {
    /// The table.
    pub table: Arc<ListingTable>,
    /// What is scanned for its rows.
    pub scan: Arc<dyn TableProvider>,
    /// What relative references are relative to.
    pub base: Option<Url>,
}

/// Everything that a run needs.
pub struct Job {
    /// Fetcher, decode pool and models.
    pub engine: Arc<Engine>,
    /// The model's service.
    pub service: Service,
    /// The session that tables are read in.
    pub context: SessionContext,
    /// What is read, in the order given.
    pub sources: Vec<Source>,
    /// The inputs as given, without query strings.
    pub inputs: Vec<String>,
    /// The column of the images.
    pub image: String,
    /// Counts and times of the run.
    pub stats: Arc<RunStats>,
    /// How much the run may ask.
    pub allowance: Arc<Allowance>,
    /// The model as it was asked for.
    pub model: ModelArgs,
    /// The threshold of categories that have none.
    pub threshold: Option<f32>,
    /// The categories in the order of their columns.
    pub categories: Vec<JobCategory>,
    /// The categories checked against the model.
    pub labelling: Labelling,
    /// Names of the added columns.
    pub added: AddedColumns,
    /// Schema of a labelled batch: the table's columns and metadata, then the added columns.
    pub schema: SchemaRef,
    /// Columns that become folders.
    pub partition_by: Vec<String>,
    /// Columns that are left out of the output.
    pub dropped: Vec<String>,
    /// The predicate of `--where`.
    pub predicate: Option<String>,
    /// The number of `--limit`.
    pub limit: Option<usize>,
    /// What a failed image does.
    pub on_error: OnError,
    /// The output folder.
    pub output: PathBuf,
    /// Whether a former output is replaced.
    pub overwrite: bool,
}

impl Job {
    /// Checks the command and opens its tables; no image is read and nothing written.
    ///
    /// # Errors
    /// The first thing that is wrong, with an exit code of 2.
    pub async fn resolve(args: LabelArgs) -> Result<Self, AppError> {
        let categories = categories(
            &args.categories.categories,
            args.categories.categories_file.as_deref(),
        )
        .map_err(|error| AppError::Usage(error.to_string()))?;
        let locations = args
            .inputs
            .iter()
            .map(|input| tables::locate(input))
            .collect::<Result<Vec<_>, _>>()
            .map_err(AppError::Plan)?;
        if args.output.to_string_lossy().contains("://") {
            return Err(AppError::Usage(format!(
                "the output '{}' is a URL; name a local folder",
                args.output.display()
            )));
        }
        publish::check(&args.output, args.overwrite)?;
        refuse_to_mix(&args.output, &locations)?;

        let engine = Arc::new(Engine::new(args.limits.engine_options())?);
        let service = engine.service(&args.model.model, &args.model.load_options())?;
        let specs: Vec<_> = categories
            .iter()
            .map(|category| category.spec.clone())
            .collect();
        let labelling =
            Labelling::new(&service, &specs, args.categories.threshold).map_err(AppError::Plan)?;

        // One stream keeps the rows in their order; the images of a stream are judged many at a time anyhow.
        let context = session::session(&engine, 1).map_err(AppError::Plan)?;
        let stats = Arc::new(RunStats::default());
        let allowance = Allowance::new(args.max_images, args.max_seconds, AtEnd::Stop);
        let allowance = Arc::new(allowance);
        {
            let state = context.state_ref();
            let mut state = state.write();
            state.config_mut().set_extension(Arc::clone(&stats));
            state.config_mut().set_extension(Arc::clone(&allowance));
        }
        let (sources, table_schema) = open(&context, &locations).await?;
        let image = image_column(&table_schema, args.image.as_deref()).map_err(AppError::Usage)?;
        let names: Vec<_> = categories
            .iter()
            .map(|category| category.column.clone())
            .collect();
        let added = AddedColumns::new(&names, &table_schema).map_err(AppError::Plan)?;
        let schema = output_schema(&table_schema, &added);
        let dropped = match args.image_column {
            ImageColumn::Keep => Vec::new(),
            ImageColumn::Drop => vec![image.clone()],
        };
        let partition_by = partition_columns(&args.partition_by, &schema, &added)?;
        let absent = [partition_by.as_slice(), dropped.as_slice()].concat();
        let schema = huggingface::with_features(&schema, &added, &absent);

        let job = Self {
            engine,
            service,
            context,
            sources,
            inputs: locations
                .iter()
                .map(tables::shown)
                .map(without_query)
                .collect(),
            image,
            stats,
            allowance,
            model: args.model,
            threshold: args.categories.threshold,
            categories,
            labelling,
            added,
            schema,
            partition_by,
            dropped,
            predicate: args.predicate,
            limit: args.limit,
            on_error: args.on_error,
            output: args.output,
            overwrite: args.overwrite,
        };
        for source in &job.sources {
            job.rows_of(source, None)?;
        }
        Ok(job)
    }

    /// The rows of a source that the predicate keeps, at most `limit` of them.
    ///
    /// # Errors
    /// When the predicate is no SQL, names columns that are not there, or is not boolean.
    pub fn rows_of(&self, source: &Source, limit: Option<usize>) -> Result<DataFrame, AppError> {
        let scan = Arc::clone(&source.scan);
        let mut rows = self.context.read_table(scan).map_err(AppError::Plan)?;
        if let Some(predicate) = &self.predicate {
            let condition = rows.parse_sql_expr(predicate).map_err(AppError::Plan)?;
            rows = rows.filter(condition).map_err(AppError::Plan)?;
        }
        if limit.is_some() {
            rows = rows.limit(0, limit).map_err(AppError::Plan)?;
        }
        Ok(rows)
    }

    /// What is asked of a source's images.
    pub fn annotation(&self, source: &Source) -> Annotation {
        Annotation {
            image: self.image.clone(),
            base: source.base.clone(),
            model: self.model.model.clone(),
            load: self.model.load_options(),
            categories: self.categories.iter().map(|c| c.spec.clone()).collect(),
            threshold: self.threshold,
            added: self.added.clone(),
            on_error: self.on_error,
        }
    }

    /// The number of rows to expect, where the tables' own counts tell it.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn expected_rows(&self) -> Result<Option<u64>, AppError> {
        if self.predicate.is_some() {
            return Ok(self.limit.map(|limit| limit as u64));
        }
        let mut rows = 0;
        for source in &self.sources {
            // The listed table, because its count comes from the files' footers alone.
            let table = self
                .context
                .read_table(Arc::clone(&source.table) as Arc<dyn TableProvider>);
            let count = async { table?.count().await };
            rows += count.await.map_err(AppError::Plan)? as u64;
        }
        if rows == 0 {
            return Err(AppError::Usage(format!(
                "the table {} has no rows",
                self.inputs.join(", ")
            )));
        }
        Ok(Some(
            self.limit.map_or(rows, |limit| rows.min(limit as u64)),
        ))
    }
}

/// Opens the locations; neighbours that share a folder become one table, so that the work does not pause between them.
async fn open(
    context: &SessionContext,
    locations: &[ListingTableUrl],
) -> Result<(Vec<Source>, SchemaRef), AppError> {
    let state = context.state();
    let mut sources = Vec::new();
    let mut schema: Option<SchemaRef> = None;
    for group in locations.chunk_by(follows) {
        let table = tables::open(&state, group).await.map_err(AppError::Plan)?;
        let found = TableProvider::schema(table.as_ref());
        match &schema {
            None => {
                let stored = tables::stored_schema(&state, &group[0])
                    .await
                    .map_err(AppError::Plan)?;
                schema = Some(tables::with_metadata_of(&found, stored.as_deref()));
            }
            Some(first) if !same_columns(first, &found) => {
                return Err(AppError::Usage(format!(
                    "'{}' and '{}' have different columns; label them one after the other",
                    tables::shown(&locations[0]),
                    tables::shown(&group[0])
                )));
            }
            Some(_) => {}
        }
        let scan = tables::scan(&state, &table, group)
            .await
            .map_err(AppError::Plan)?;
        sources.push(Source {
            table,
            scan,
            base: table_base(&group[0]),
        });
    }
    match schema {
        Some(schema) => Ok((sources, schema)),
        None => Err(AppError::Usage("no table is named".to_string())),
    }
}

/// Whether two files are read as one table: they share a folder, and stand in the order in which a table reads its files.
fn follows(first: &ListingTableUrl, second: &ListingTableUrl) -> bool {
    !first.is_collection()
        && table_base(first) == table_base(second)
        && first.as_str() < second.as_str()
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    let columns = |schema: &Schema| -> Vec<_> {
        schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect()
    };
    columns(a) == columns(b)
}

fn partition_columns(
    asked: &[String],
    schema: &Schema,
    added: &AddedColumns,
) -> Result<Vec<String>, AppError> {
    let added_names: Vec<_> = added
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut columns = Vec::new();
    for name in asked {
        // 'label' means the answer even where the table's own column of that name made it move aside.
        let name = if name == "label" { &added.label } else { name };
        let Some((_, field)) = schema.column_with_name(name) else {
            let table: Vec<_> = schema
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .filter(|n| !added_names.iter().any(|a| a == n))
                .collect();
            return Err(AppError::Usage(format!(
                "--partition-by: there is no column '{name}'; the columns are {}, and label",
                table.join(", ")
            )));
        };
        if added_names.contains(name) && *name != added.label {
            return Err(AppError::Usage(format!(
                "--partition-by: '{name}' is an answer; only the table's own columns and 'label' can be folders"
            )));
        }
        if field.data_type().is_nested() || picsift_udf::is_binary(field.data_type()) {
            return Err(AppError::Usage(format!(
                "--partition-by: column '{name}' is {}, which cannot be a folder's name",
                field.data_type()
            )));
        }
        if columns.contains(name) {
            return Err(AppError::Usage(format!(
                "--partition-by: '{name}' is given twice"
            )));
        }
        columns.push(name.clone());
    }
    Ok(columns)
}

/// An output that holds an input would be moved away while it is read, and one inside an input folder would be read by the next
/// run.
fn refuse_to_mix(output: &Path, locations: &[ListingTableUrl]) -> Result<(), AppError> {
    let real_output = real(output);
    for location in locations {
        let Some(input) = location
            .get_url()
            .to_file_path()
            .ok()
            .map(|path| real(&path))
        else {
            continue;
        };
        let (relation, mixed) = if input.starts_with(&real_output) {
            ("holds", true)
        } else {
            (
                "lies in",
                location.is_collection() && real_output.starts_with(&input),
            )
        };
        if mixed {
            return Err(AppError::Usage(format!(
                "the output '{}' {relation} the input '{}'; name another folder",
                output.display(),
                tables::shown(location)
            )));
        }
    }
    Ok(())
}

/// The path without links, also where its last parts are not there yet.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            // Joining nothing would add a slash, which a file does not have.
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    path
}

/// A signed URL's query is a credential; it stays out of what is written.
fn without_query(input: String) -> String {
    match input.split_once('?') {
        Some((location, _)) if input.contains("://") => location.to_string(),
        _ => input,
    }
}

#[cfg(test)]
mod tests {
    use super::without_query;

    #[test]
    fn a_signature_is_cut_and_a_file_name_kept() {
        assert_eq!(
            without_query("https://h/a.parquet?sig=s".into()),
            "https://h/a.parquet"
        );
        assert_eq!(
            without_query("/data/what?.parquet".into()),
            "/data/what?.parquet"
        );
    }
}
