//! Tables from paths and URLs: files, folders (hive-partitioned too) and globs of Parquet, CSV or JSON.
//!
//! Owns how a text becomes a DataFusion listing table, and what a person is told when it does not. It reads no rows.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{TableProvider, UrlTableFactory};
use datafusion::common::{Column, Result, plan_datafusion_err, plan_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;
use datafusion::functions::expr_fn::nullif;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, UNNAMED_TABLE, lit};
use futures::TryStreamExt;
use glob::Pattern;
use url::Url;

use crate::error::innermost;

/// The formats of tables, by the end of a file's name; the first that a folder holds is taken.
const FORMATS: [(&str, &str); 6] = [
    (".parquet", "Parquet"),
    (".pq", "Parquet"),
    (".csv", "CSV"),
    (".ndjson", "JSON"),
    (".jsonl", "JSON"),
    (".json", "JSON"),
];

/// The folder's value for rows whose partition column is NULL, as Hive names it.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns of `table`, those of folders' names nullable.
pub fn schema_of(table: &ListingTable) -> SchemaRef {
    let schema = TableProvider::schema(table);
    let partitions = &table.options().table_partition_cols;
    let fields = schema.fields().iter().map(|field| {
        match partitions.iter().any(|(name, _)| name == field.name()) {
            true => Arc::new(field.as_ref().clone().with_nullable(true)),
            false => Arc::clone(field),
        }
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// `table` with NULL where the name of a folder says so, which DataFusion takes for a text.
///
/// # Errors
/// DataFusion's, for a table that cannot be planned.
pub fn with_null_partitions(table: &Arc<ListingTable>) -> Result<Arc<dyn TableProvider>> {
    let provider = Arc::clone(table) as Arc<dyn TableProvider>;
    let partitions = &table.options().table_partition_cols;
    if partitions.is_empty() {
        return Ok(provider);
    }
    let schema = provider.schema();
    let columns = schema.fields().iter().map(|field| {
        let column = Expr::Column(Column::from_name(field.name()));
        match partitions.iter().any(|(name, _)| name == field.name()) {
            true => nullif(column, lit(NULL_PARTITION)).alias(field.name()),
            false => column,
        }
    });
    let columns: Vec<_> = columns.collect();
    let plan = LogicalPlanBuilder::scan(UNNAMED_TABLE, provider_as_source(provider), None)?
        .project(columns)?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Opens the tables at `locations`, all in one folder or store and of one kind, as one table.
///
/// # Errors
/// A planning error in a sentence: nothing there, no table in the folder, or a file that is not what its name says.
pub async fn open(
    state: &SessionState,
    locations: &[ListingTableUrl],
) -> Result<Arc<ListingTable>> {
    let Some(first) = locations.first() else {
        return plan_err!("no table is named");
    };
    let (extension, kind) = format_of(state, first).await?;
    let format: Arc<dyn FileFormat> = match kind {
        // Readers downstream, and the `datasets` library, know STRING and BINARY better than their view forms.
        "Parquet" => Arc::new(ParquetFormat::default().with_force_view_types(false)),
        "CSV" => Arc::new(CsvFormat::default()),
        _ => Arc::new(JsonFormat::default()),
    };
    let mut options = ListingOptions::new(format).with_file_extension(extension);
    let partitions = options.infer_partitions(state, first).await?;
    options = options.with_table_partition_cols(
        partitions
            .into_iter()
            .map(|name| (name, DataType::Utf8))
            .collect(),
    );
    let unreadable = |error| {
        plan_datafusion_err!(
            "cannot read '{}' as {kind}: {}",
            shown(first),
            innermost(&error)
        )
    };
    let schema = options
        .infer_schema(state, first)
        .await
        .map_err(unreadable)?;
    for other in &locations[1..] {
        let theirs = options.infer_schema(state, other).await.map_err(|error| {
            plan_datafusion_err!(
                "cannot read '{}' as {kind}: {}",
                shown(other),
                innermost(&error)
            )
        })?;
        if theirs.fields() != schema.fields() {
            return plan_err!(
                "'{}' and '{}' have different columns; label them one after the other",
                shown(first),
                shown(other)
            );
        }
    }
    let config = ListingTableConfig::new_with_multi_paths(locations.to_vec())
        .with_listing_options(options)
        .with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// The schema as the first Parquet file at `location` stores it, with the metadata that DataFusion leaves out because files
/// of one table may differ in it; `None` for other formats.
///
/// # Errors
/// As [`open`].
pub async fn stored_schema(
    state: &SessionState,
    location: &ListingTableUrl,
) -> Result<Option<SchemaRef>> {
    let (extension, kind) = format_of(state, location).await?;
    if kind != "Parquet" {
        return Ok(None);
    }
    let store = state.runtime_env().object_store(location)?;
    let first = location
        .list_all_files(state, store.as_ref(), extension)
        .await?
        .try_next()
        .await?;
    match first {
        None => Ok(None),
        Some(file) => {
            let format = ParquetFormat::default()
                .with_force_view_types(false)
                .with_skip_metadata(false);
            format.infer_schema(state, &store, &[file]).await.map(Some)
        }
    }
}

/// `schema` with the metadata of `stored`: the schema's, and that of fields of the same name.
pub fn with_metadata_of(schema: &SchemaRef, stored: Option<&Schema>) -> SchemaRef {
    let Some(stored) = stored else {
        return Arc::clone(schema);
    };
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| match stored.column_with_name(field.name()) {
            Some((_, theirs)) => Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_metadata(theirs.metadata().clone()),
            ),
            None => Arc::clone(field),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone()))
}

/// The location that a person's text names: a local path, a URL, or either with a glob in it.
///
/// # Errors
/// A planning error when a local file or folder is not there or the text is no URL.
pub fn locate(text: &str) -> Result<ListingTableUrl> {
    let remote = text.contains("://") && !text.starts_with("file:");
    if remote {
        return locate_remote(text);
    }
    let local = text.strip_prefix("file://").unwrap_or(text);
    let path = Path::new(local);
    if path.exists() {
        // Before a glob is looked for: a name that exists means itself, brackets and all.
        let mut url =
            picsift_images::resolve(text, None).map_err(|error| plan_datafusion_err!("{error}"))?;
        if path.is_dir() {
            make_folder(&mut url);
        }
        return ListingTableUrl::try_new(url, None);
    }
    if !has_glob(local) {
        return plan_err!("there is no file or folder '{text}'");
    }
    ListingTableUrl::parse(local)
        .map_err(|error| plan_datafusion_err!("'{text}': {}", innermost(&error)))
}

fn locate_remote(text: &str) -> Result<ListingTableUrl> {
    let (base, pattern) = match text
        .find(['*', '[', '{'])
        .filter(|_| !text.starts_with("http"))
    {
        Some(at) => {
            let cut = text[..at].rfind('/').map_or(0, |slash| slash + 1);
            let pattern = Pattern::new(&text[cut..])
                .map_err(|error| plan_datafusion_err!("'{text}' is no glob: {error}"))?;
            (&text[..cut], Some(pattern))
        }
        None => (text, None),
    };
    let mut url =
        picsift_images::resolve(base, None).map_err(|error| plan_datafusion_err!("{error}"))?;
    // A bucket has no folders to look at: what does not end like a table is one.
    if pattern.is_some() || extension_of(base).is_none() {
        make_folder(&mut url);
    }
    ListingTableUrl::try_new(url, pattern)
}

/// Ends the URL's path with a slash.
fn make_folder(url: &mut Url) {
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("");
    }
}

/// A location as a person would write it.
pub fn shown(location: &ListingTableUrl) -> String {
    let url = location.get_url();
    let base = match url.to_file_path() {
        Ok(path) => path.display().to_string(),
        Err(()) => url.to_string(),
    };
    match location.get_glob() {
        Some(pattern) => format!("{}/{pattern}", base.trim_end_matches('/')),
        None => base,
    }
}

async fn format_of(
    state: &SessionState,
    location: &ListingTableUrl,
) -> Result<(&'static str, &'static str)> {
    let missing =
        |error| plan_datafusion_err!("cannot read '{}': {}", shown(location), innermost(&error));
    let store = state.runtime_env().object_store(location)?;
    let mut files = location
        .list_all_files(state, store.as_ref(), "")
        .await
        .map_err(missing)?;
    let mut best: Option<usize> = None;
    let mut seen = 0_usize;
    while let Some(file) = files.try_next().await.map_err(missing)? {
        seen += 1;
        if let Some(rank) = extension_of(file.location.as_ref())
            && best.is_none_or(|known| rank < known)
        {
            best = Some(rank);
            if rank == 0 {
                break;
            }
        }
    }
    match best {
        Some(rank) => Ok(FORMATS[rank]),
        // DataFusion leaves such folders out of what it compares with a pattern.
        None if seen == 0 && location.get_glob().is_some() => plan_err!(
            "nothing matches '{}'; a glob does not see folders such as name=value, so name the folder above them",
            shown(location)
        ),
        None if seen == 0 => plan_err!("there is nothing at '{}'", shown(location)),
        None if !location.is_collection() => plan_err!(
            "'{}' is not a table: picsift reads .parquet, .csv and .json files and folders of them",
            shown(location)
        ),
        None => plan_err!(
            "the folder '{}' holds no .parquet, .csv or .json file",
            shown(location)
        ),
    }
}

fn extension_of(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    FORMATS
        .iter()
        .position(|(extension, _)| name.ends_with(extension))
}

fn has_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Lets `FROM 'path or URL'` name a table that nobody registered.
#[derive(Default)]
pub struct PathTables {
    state: OnceLock<Box<dyn Fn() -> Option<SessionState> + Send + Sync>>,
}

impl PathTables {
    /// Tells the factory its session, which could not exist before it.
    pub fn attach(&self, context: &SessionContext) {
        let state = context.state_weak_ref();
        let current = move || state.upgrade().map(|state| state.read().clone());
        // A second call would mean a second session; the first keeps the factory.
        let _ = self.state.set(Box::new(current));
    }
}

impl fmt::Debug for PathTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathTables").finish_non_exhaustive()
    }
}

#[async_trait]
impl UrlTableFactory for PathTables {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let like_a_path = name.contains('/') || extension_of(name).is_some() || has_glob(name);
        if !like_a_path && !Path::new(name).exists() {
            return Ok(None);
        }
        let Some(state) = self.state.get().and_then(|current| current()) else {
            return plan_err!("the session that '{name}' was named in is closed");
        };
        let location = locate(name)?;
        let table = open(&state, &[location]).await?;
        with_null_partitions(&table).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_local_path_is_said() {
        let message = innermost(&locate("no/such/thing.parquet").unwrap_err());
        assert_eq!(
            message,
            "there is no file or folder 'no/such/thing.parquet'"
        );
    }

    #[test]
    fn a_folder_is_a_collection_with_or_without_its_slash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a [1]");
        std::fs::create_dir(&path).unwrap();
        for text in [
            format!("{}", path.display()),
            format!("{}/", path.display()),
        ] {
            let location = locate(&text).unwrap();
            assert!(location.is_collection(), "{text}");
            assert!(location.get_glob().is_none(), "{text}");
        }
    }

    #[test]
    fn a_bucket_prefix_is_a_folder_and_a_glob_is_split_off() {
        assert!(locate("s3://bucket/photos").unwrap().is_collection());
        assert!(
            !locate("s3://bucket/photos/a.parquet")
                .unwrap()
                .is_collection()
        );
        let glob = locate("s3://bucket/photos/2024-*/x.parquet").unwrap();
        assert_eq!(glob.get_url().as_str(), "s3://bucket/photos/");
        assert_eq!(shown(&glob), "s3://bucket/photos/2024-*/x.parquet");
    }
}
