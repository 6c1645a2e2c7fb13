//! `COPY ... TO` a folder that has files: refused, unless the statement says what becomes of them.
//!
//! With the option `append` new files come beside them; with `overwrite` the tables' files that stand there go once the new ones are
//! written, so that a query that fails takes nothing away. What COPY writes otherwise is the engine's.

use std::sync::Arc;

use datafusion::common::{Result, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CopyToStatement, Statement};
use datafusion::sql::sqlparser::ast::Value;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::tables::{Kind, MANIFEST, shown};

/// What a COPY takes away when it is done.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    store: Arc<dyn ObjectStore>,
    files: Arc<[Path]>,
}

impl Replaced {
    /// `rows`, at whose end the files go.
    pub(super) fn after(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let gone = futures::stream::once(async move {
            for file in self.files.iter() {
                match self.store.delete(file).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Some(Err(DataFusionError::from(error))),
                }
            }
            None
        });
        // After an error of the rows nothing is taken away.
        let rows = futures::stream::unfold(Some((rows, Box::pin(gone))), |state| async move {
            let (mut rows, mut gone) = state?;
            match rows.next().await {
                Some(Ok(batch)) => Some((Ok(batch), Some((rows, gone)))),
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((gone.next().await.flatten()?, None)),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// Takes the options of this module out of a COPY and looks at its folder; `None` where nothing is to be taken away.
///
/// # Errors
/// A sentence where the folder has files and the statement does not say what becomes of them.
pub(super) async fn prepare(
    context: &SessionContext,
    statement: &mut Statement,
) -> Result<Option<Replaced>> {
    match statement {
        Statement::CopyTo(copy) => prepare_copy(context, copy).await,
        Statement::Explain(explain) => {
            if let Statement::CopyTo(copy) = explain.statement.as_mut() {
                take(copy, "append");
                take(copy, "overwrite");
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

async fn prepare_copy(
    context: &SessionContext,
    copy: &mut CopyToStatement,
) -> Result<Option<Replaced>> {
    let append = take(copy, "append");
    let overwrite = take(copy, "overwrite") | take(copy, "overwrite_or_ignore");
    if append && overwrite {
        return plan_err!("COPY is to append and to overwrite; say one of them");
    }
    let location = ListingTableUrl::parse(&copy.target)?;
    let is_file = !location.is_collection()
        && location.file_extension().is_some()
        && copy.partitioned_by.is_empty();
    if is_file && !std::path::Path::new(&copy.target).is_dir() {
        return Ok(None);
    }
    let store = context.runtime_env().object_store(&location)?;
    let found = files(store.as_ref(), location.prefix()).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let folder = shown(&location);
    if found.iter().any(|file| file.filename() == Some(MANIFEST)) {
        return plan_err!(
            "'{folder}' is a labelled table, which picsift label alone writes; COPY into another folder"
        );
    }
    if append {
        return Ok(None);
    }
    if !overwrite {
        return plan_err!(
            "'{folder}' has files already; COPY into another folder, or say what becomes of them: \
             OPTIONS (append true) puts new files beside them, OPTIONS (overwrite true) replaces its tables"
        );
    }
    let tables = found.into_iter();
    let tables = tables.filter(|file| file.filename().is_some_and(|name| Kind::of(name).is_some()));
    Ok(Some(Replaced {
        store,
        files: tables.collect(),
    }))
}

/// Files below a folder that are not hidden.
async fn files(store: &dyn ObjectStore, folder: &Path) -> Result<Vec<Path>> {
    let all = store.list(Some(folder));
    let below = all.try_filter_map(|meta| async move {
        let is_below = meta.location != *folder;
        let is_hidden = {
            let mut parts = meta.location.prefix_match(folder).into_iter().flatten();
            parts.any(|part| part.as_ref().starts_with('.'))
        };
        Ok::<_, object_store::Error>((is_below && !is_hidden).then_some(meta.location))
    });
    match below.try_collect().await {
        Ok(found) => Ok(found),
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Takes a switch out of the options; whether it was on.
fn take(copy: &mut CopyToStatement, name: &str) -> bool {
    let place = copy
        .options
        .iter()
        .position(|(key, _)| key.eq_ignore_ascii_case(name));
    let Some(place) = place else { return false };
    let (_, value) = copy.options.remove(place);
    match value {
        Value::Boolean(on) => on,
        Value::Number(number, _) => number != "0",
        value => !value.into_string().is_some_and(|text| {
            ["false", "off", "no", "0"].contains(&text.to_lowercase().as_str())
        }),
    }
}
