//! The tables that a job reads, put together: which files each has, and the columns that they share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use picsift_udf::table_base;
use url::Url;

use crate::dataset::base_of;
use crate::error::AppError;
use crate::input::columns::columns_as;
use crate::input::files::{self, FileEntry, InputFile};
use crate::output::huggingface;
use crate::stores::Versions;
use crate::tables::{self, FileTable};

/// Tables in one folder, read as one.
#[derive(Debug)]
pub struct Source {
    /// The table.
    pub table: Arc<FileTable>,
    /// Its files; their numbers begin at 0 in each source.
    pub files: Vec<InputFile>,
    /// What relative references are relative to.
    pub base: Option<Url>,
    /// The job's columns of its rows, where the table has them in another order or of another type.
    pub columns: Option<Vec<Expr>>,
}

/// Looks whether all files of the sources are what they were when the job began.
///
/// # Errors
/// [`AppError::InputChanged`] of the first that is not; when the input cannot be listed any more.
pub(super) async fn check_unchanged(
    context: &SessionContext,
    sources: &[Source],
) -> Result<(), AppError> {
    let state = context.state();
    for source in sources {
        let now = files::list(&state, &source.table, source.table.locations())
            .await
            .map_err(AppError::Run)?;
        let now: HashMap<&str, &FileEntry> = now
            .iter()
            .map(|file| (file.entry.url.as_str(), &file.entry))
            .collect();
        for file in &source.files {
            let what = match now.get(file.entry.url.as_str()) {
                Some(entry) if **entry == file.entry => continue,
                Some(_) => "changed",
                None => "was removed",
            };
            return Err(AppError::InputChanged {
                file: file.entry.url.clone(),
                what,
            });
        }
    }
    Ok(())
}

/// The same of some files of one source, without listing the others.
///
/// # Errors
/// [`AppError::InputChanged`] of the first that is not what it was; when a file cannot be asked for.
pub(super) async fn check_files<'a>(
    context: &SessionContext,
    source: &Source,
    files: impl IntoIterator<Item = &'a InputFile>,
) -> Result<(), AppError> {
    let state = context.state();
    for file in files {
        let now = files::version(&state, &source.table, file).await;
        let what = match now.map_err(AppError::Run)? {
            Some(now) if now == (file.entry.bytes, file.entry.version.clone()) => continue,
            Some(_) => "changed",
            None => "was removed",
        };
        return Err(AppError::InputChanged {
            file: file.entry.url.clone(),
            what,
        });
    }
    Ok(())
}

/// Lets the files be read as they were listed, where their stores can tell.
pub(super) fn pin(context: &SessionContext, sources: &[Source]) {
    let Some(versions) = context.state().config().get_extension::<Versions>() else {
        return;
    };
    for file in sources.iter().flat_map(|source| &source.files) {
        if let Some(tag) = &file.file.object_meta.e_tag {
            versions.pin(&file.entry.url, tag);
        }
    }
}

/// What an error of the work means: that a pinned file has another version, or what it says.
pub(super) fn error_of(context: &SessionContext, error: AppError) -> AppError {
    let versions = context.state().config().get_extension::<Versions>();
    match versions.and_then(|versions| versions.changed()) {
        Some(file) => AppError::InputChanged {
            file,
            what: "changed",
        },
        None => error,
    }
}

/// What the input is.
pub(super) struct Opened {
    /// The tables, in the order in which they are read.
    pub(super) sources: Vec<Source>,
    /// Their columns.
    pub(super) schema: SchemaRef,
    /// Files that several locations named; each is read where it was named first.
    pub(super) named_again: usize,
}

/// Opens the locations; neighbours that share a folder become one table, so that the work does not pause between them.
///
/// # Errors
/// When a location is no table, or the tables have different columns.
pub(super) async fn open(
    context: &SessionContext,
    locations: &[ListingTableUrl],
) -> Result<Opened, AppError> {
    let state = context.state();
    let mut tables = Vec::new();
    for group in locations.chunk_by(follows) {
        let table = tables::open(&state, group).await.map_err(AppError::Plan)?;
        tables.push((group, table));
    }
    let Some((first, _)) = tables.first() else {
        return Err(AppError::Usage("no table is named".to_string()));
    };
    let schemas: Vec<_> = tables
        .iter()
        .map(|(group, table)| (tables::shown(&group[0]), table.schema()))
        .collect();
    let schema = tables::unite(&schemas).map_err(AppError::Plan)?;
    let stored = tables::stored_schema(&state, &first[0])
        .await
        .map_err(AppError::Plan)?;
    let mut sources = Vec::new();
    let (mut seen, mut named_again) = (HashSet::new(), 0);
    for (group, table) in &tables {
        let store = context.runtime_env().object_store(&group[0]);
        let store = store.map_err(AppError::Plan)?;
        let table = Arc::new(table.with_types_of(&schema));
        let mut files = files::list(&state, &table, group)
            .await
            .map_err(AppError::Plan)?;
        let named = files.len();
        files.retain(|file| seen.insert(file.entry.url.clone()));
        named_again += named - files.len();
        for (id, file) in (0..).zip(&mut files) {
            file.id = id;
        }
        if files.is_empty() {
            continue;
        }
        sources.push(Source {
            columns: columns_as(&schema, &table.schema()),
            table,
            files,
            base: base_of(store.as_ref(), &group[0]).await,
        });
    }
    let schema = tables::with_metadata_of(&schema, stored.as_deref());
    Ok(Opened {
        sources,
        schema: huggingface::with_other_files(&schema, stored.as_deref()),
        named_again,
    })
}

/// Whether two files are read as one table: they share a folder, and stand in the order in which a table reads its files.
fn follows(first: &ListingTableUrl, second: &ListingTableUrl) -> bool {
    !first.is_collection()
        && table_base(first) == table_base(second)
        && first.as_str() < second.as_str()
}
