//! SQL in, table out: every `.slt` file of tests/slt, in a session of its own.

use std::sync::Arc;
use std::time::Duration;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use picsift::error::innermost;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::support::root;

struct Session(SessionContext);

#[derive(Debug, thiserror::Error)]
#[error("{}", innermost(.0))]
struct SqlError(#[from] DataFusionError);

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = SqlError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlError> {
        let plan = self.0.state().create_logical_plan(sql).await?;
        let frame = picsift_udf::execute(&self.0, plan).await?;
        let columns = frame.schema().fields().len();
        let batches = frame.collect().await?;
        if columns == 0 {
            return Ok(DBOutput::StatementComplete(0));
        }
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &batches {
            let formatters: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                .collect();
            for row in 0..batch.num_rows() {
                let cells = formatters.iter().map(|f| f.value(row).to_string());
                rows.push(
                    cells
                        .map(|cell| {
                            if cell.is_empty() {
                                "(empty)".to_string()
                            } else {
                                cell
                            }
                        })
                        .collect(),
                );
            }
        }
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; columns],
            rows,
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "picsift"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_hold() {
    // Paths in the files are relative to the repository.
    std::env::set_current_dir(root()).unwrap();
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let mut files: Vec<_> = std::fs::read_dir(root().join("tests/slt"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Session(session(&engine, 2).unwrap())) });
        if let Err(error) = runner.run_file_async(&file).await {
            panic!("{}", error.display(false));
        }
    }
}
