//! Tables in memory whose columns keep their lineage, and the statements that make and fill them.
//!
//! It is kept beside the rows and not in their schema: no location of this machine gets into a result, and no data says where it is from.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::{Constraints, Result, Statistics};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    DdlStatement, DmlStatement, Expr, LogicalPlan, TableProviderFilterPushDown, TableType, WriteOp,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use url::Url;

use super::walk::{Around, columns};
use super::{Lineage, table_base};

/// A table that knows where the relative references in its columns belong, and is otherwise the one that it wraps.
#[derive(Debug)]
pub struct LocatedTable {
    table: Arc<dyn TableProvider>,
    columns: Mutex<Vec<Lineage>>,
}

impl LocatedTable {
    /// `table`, whose relative references belong to the folder `base`; without one it is not known.
    pub fn new(table: Arc<dyn TableProvider>, base: Option<&Url>) -> Self {
        let folder = base.cloned().map(Arc::new);
        let lineage = folder.map_or(Lineage::Unknown, Lineage::Folder);
        let width = table.schema().fields().len();
        Self {
            table,
            columns: Mutex::new(vec![lineage; width]),
        }
    }

    /// `table`, whose files lie at `locations`; the folder is not known where those differ in it.
    pub fn beside(table: Arc<dyn TableProvider>, locations: &[ListingTableUrl]) -> Self {
        let mut folders = locations.iter().map(table_base);
        let first = folders.next().flatten();
        let folder = first.filter(|first| folders.all(|other| other.as_ref() == Some(first)));
        Self::new(table, folder.as_ref())
    }

    /// Of each column.
    pub(super) fn lineage(&self) -> Vec<Lineage> {
        let columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        columns.clone()
    }

    /// Takes rows of these columns among its own.
    fn receive(&self, added: Vec<Lineage>) {
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut added = added.into_iter();
        for column in columns.iter_mut() {
            let added = added.next().unwrap_or(Lineage::Unknown);
            *column = column.clone().or(added.settled());
        }
    }
}

/// Runs a statement as [`SessionContext::execute_logical_plan`] does. A table that it makes in memory knows from then on where the
/// references in its columns belong.
///
/// # Errors
/// The statement's.
pub async fn execute(context: &SessionContext, plan: LogicalPlan) -> Result<DataFrame> {
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(making)) = &plan else {
        return context.execute_logical_plan(plan).await;
    };
    let name = making.name.clone();
    let kept = making.if_not_exists && context.table_exist(name.clone())?;
    let columns = columns(&making.input, &Around::Top);
    let made = context.execute_logical_plan(plan).await?;
    if kept {
        return Ok(made);
    }
    let table = context.table_provider(name.clone()).await?;
    if table.is::<MemTable>() {
        let columns = columns.into_iter().map(Lineage::settled).collect();
        context.deregister_table(name.clone())?;
        let columns = Mutex::new(columns);
        context.register_table(name, Arc::new(LocatedTable { table, columns }))?;
    }
    Ok(made)
}

/// Tells the table into which a statement puts rows where those come from. This is known only while the statement is planned, so one that
/// then fails, or is only explained, has the same effect: columns of several folders are of no known one.
pub(crate) fn receive(statement: &DmlStatement) {
    let Ok(provider) = source_as_provider(&statement.target) else {
        return;
    };
    let Some(table) = provider.downcast_ref::<LocatedTable>() else {
        return;
    };
    match &statement.op {
        WriteOp::Delete | WriteOp::Truncate => {}
        WriteOp::Insert(_) | WriteOp::Update | WriteOp::Ctas => {
            table.receive(columns(&statement.input, &Around::Top));
        }
        // Not known of which rows.
        _ => table.receive(Vec::new()),
    }
}

#[async_trait]
impl TableProvider for LocatedTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.table.constraints()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.table.get_table_definition()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.table.get_column_default(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> Result<ScanResult> {
        self.table.scan_with_args(state, args).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.table.statistics()
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.insert_into(state, input, op).await
    }

    async fn delete_from(
        &self,
        state: &dyn Session,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.delete_from(state, filters).await
    }

    async fn update(
        &self,
        state: &dyn Session,
        assignments: Vec<(String, Expr)>,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.update(state, assignments, filters).await
    }

    async fn truncate(&self, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.truncate(state).await
    }
}
