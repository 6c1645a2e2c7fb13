//! How the rows of a source are read, and how the rest of them is where something in them is no text.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext};
use picsift_udf::LocatedTable;
use tokio::sync::watch;
use url::Url;

use super::prepare::PreparedJob;
use super::sources::Source;
use crate::batches;
use crate::depth;
use crate::error::AppError;
use crate::input::columns::with_place;
use crate::input::files::InputFile;
use crate::input::readable::is_no_text;
use crate::input::rows::{InputRows, Reopen};
use crate::input::scan;
use crate::input::select::{Rows, after};
use crate::input::{FILE_COLUMN, ROW_COLUMN};
use crate::tables::{FileTable, Texts, plain};

/// What reading a source takes.
struct SourceReader {
    context: SessionContext,
    table: Arc<FileTable>,
    base: Option<Url>,
    columns: Option<Vec<Expr>>,
    predicate: Option<String>,
}

impl PreparedJob {
    /// Those of the chosen rows of a source's files that the predicate keeps, each with its place, at most `limit` of them, and none once
    /// `stop` is true.
    ///
    /// # Errors
    /// When the predicate is no SQL, names columns that are not there, or is not boolean, or a file cannot be read.
    pub(super) async fn rows_of(
        &self,
        source: &Source,
        files: Vec<(InputFile, Rows)>,
        limit: Option<usize>,
        stop: watch::Receiver<bool>,
    ) -> std::result::Result<Arc<InputRows>, AppError> {
        let reader = SourceReader {
            context: self.inference.context.clone(),
            table: Arc::clone(&source.table),
            base: source.base.clone(),
            columns: source.columns.clone(),
            predicate: self.options.predicate.clone(),
        };
        let rows = reader.open(&files, Texts::Checked).await?;
        let reader = Arc::new(reader);
        let reopen: Reopen = Box::new(move |error, place| {
            if !is_no_text(error) {
                return None;
            }
            tracing::info!("a value of a text column is no text: the rest is read row by row");
            let files = match place {
                Some(place) => after(&files, place),
                None => files.clone(),
            };
            let reader = Arc::clone(&reader);
            Some(Box::pin(async move {
                let rows = reader.open(&files, Texts::Bytes).await;
                rows.map_err(|error| DataFusionError::External(Box::new(error)))
            }))
        });
        Ok(InputRows::new(rows, limit, stop, reopen))
    }
}

impl PreparedJob {
    /// The places of those rows, as [`PreparedJob::rows_of`] would give them: file and row.
    ///
    /// # Errors
    /// As [`PreparedJob::rows_of`].
    pub(super) async fn places_of(
        &self,
        source: &Source,
        files: Vec<(InputFile, Rows)>,
    ) -> std::result::Result<SendableRecordBatchStream, AppError> {
        let reader = SourceReader {
            context: self.inference.context.clone(),
            table: Arc::clone(&source.table),
            base: source.base.clone(),
            columns: source.columns.clone(),
            predicate: self.options.predicate.clone(),
        };
        // A predicate may read a text that is none.
        let texts = match &reader.predicate {
            Some(_) => Texts::Bytes,
            None => Texts::Checked,
        };
        let rows = reader
            .located(&files, texts)
            .await
            .map_err(AppError::Plan)?;
        let rows = kept_rows(rows, reader.predicate.as_deref())?;
        let places = rows.select(vec![plain(FILE_COLUMN), plain(ROW_COLUMN)]);
        batches::stream(places.map_err(AppError::Plan)?)
            .await
            .map_err(AppError::Run)
    }

    /// All columns of rows that were chosen by their places.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) async fn chosen_rows(
        &self,
        source: &Source,
        files: &[(InputFile, Rows)],
    ) -> std::result::Result<DataFrame, AppError> {
        let reader = SourceReader {
            context: self.inference.context.clone(),
            table: Arc::clone(&source.table),
            base: source.base.clone(),
            columns: source.columns.clone(),
            predicate: None,
        };
        let rows = reader.located(files, Texts::Bytes).await;
        rows.map_err(AppError::Plan)
    }
}

impl SourceReader {
    async fn open(
        &self,
        files: &[(InputFile, Rows)],
        texts: Texts,
    ) -> std::result::Result<SendableRecordBatchStream, AppError> {
        let rows = self.located(files, texts).await.map_err(AppError::Plan)?;
        let rows = kept_rows(rows, self.predicate.as_deref())?;
        batches::stream(rows).await.map_err(AppError::Run)
    }

    async fn located(&self, files: &[(InputFile, Rows)], texts: Texts) -> Result<DataFrame> {
        let rows = scan::scan(&self.context.state(), &self.table, files, texts).await?;
        // A predicate may ask about images too.
        let rows = Arc::new(LocatedTable::new(rows, self.base.as_ref()));
        let rows = self.context.read_table(rows)?;
        match &self.columns {
            None => Ok(rows),
            Some(columns) => rows.select(with_place(columns)),
        }
    }
}

/// Those rows that a predicate keeps.
///
/// # Errors
/// When it is no SQL, names columns that are not there, or is not boolean.
pub(super) fn kept_rows(
    rows: DataFrame,
    predicate: Option<&str>,
) -> std::result::Result<DataFrame, AppError> {
    let Some(predicate) = predicate else {
        return Ok(rows);
    };
    depth::check(predicate)?;
    let condition = rows.parse_sql_expr(predicate).map_err(AppError::Plan)?;
    rows.filter(condition).map_err(AppError::Plan)
}
