//! A table that lies in a folder: any table of DataFusion's, with what its relative references are relative to.
//!
//! Whoever reads files in a way of their own says with it where they lie, and lineage finds it in a plan.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::{Constraints, Result, Statistics};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use url::Url;

use crate::lineage::table_base;

/// A table and its folder.
#[derive(Debug)]
pub struct FolderTable {
    table: Arc<dyn TableProvider>,
    folder: Option<Url>,
}

impl FolderTable {
    /// `table`, whose files lie at `locations`; they have a folder where it is the same for all.
    pub fn new(table: Arc<dyn TableProvider>, locations: &[ListingTableUrl]) -> Self {
        let mut folders = locations.iter().map(table_base);
        let first = folders.next().flatten();
        let folder = first.filter(|first| folders.all(|other| other.as_ref() == Some(first)));
        Self { table, folder }
    }

    /// The folder that references are relative to, if there is one.
    pub fn folder(&self) -> Option<&Url> {
        self.folder.as_ref()
    }
}

#[async_trait]
impl TableProvider for FolderTable {
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

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.table.get_logical_plan()
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
        insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.insert_into(state, input, insert_op).await
    }
}
