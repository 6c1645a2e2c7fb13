//! Where a column of a plan comes from: the location of the table that holds it.
//!
//! Relative references in a table mean files beside that table, and a function sees only their text. Walking
//! the plan finds the table again without marking the data, so that no location of this machine can leak into a
//! result's schema. Columns that are computed have no origin.

use datafusion::common::Column;
use datafusion::datasource::listing::{ListingTable, ListingTableUrl};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use url::Url;

use crate::folder_table::FolderTable;

/// The folder of the table that `expr`, over one of `inputs`, reads its column from; `None` for a computed
/// value, a table without files, or tables in different folders under a UNION.
pub fn base_of(expr: &Expr, inputs: &[&LogicalPlan]) -> Option<Url> {
    match expr {
        Expr::Column(column) => inputs.iter().find_map(|plan| {
            let index = plan.schema().maybe_index_of_column(column)?;
            base_of_field(plan, index)
        }),
        Expr::Alias(alias) => base_of(&alias.expr, inputs),
        Expr::Cast(cast) => base_of(&cast.expr, inputs),
        Expr::TryCast(cast) => base_of(&cast.expr, inputs),
        Expr::OuterReferenceColumn(_, column) => base_of(&Expr::Column(column.clone()), inputs),
        Expr::ScalarFunction(call) if call.name() == "get_field" => {
            base_of(call.args.first()?, inputs)
        }
        _ => None,
    }
}

/// The folder that relative references of a table at `url` are relative to: itself, or a file's parent.
pub fn table_base(url: &ListingTableUrl) -> Option<Url> {
    let location: &Url = url.as_ref();
    if url.is_collection() {
        Some(location.clone())
    } else {
        location.join(".").ok()
    }
}

fn base_of_field(plan: &LogicalPlan, index: usize) -> Option<Url> {
    match plan {
        LogicalPlan::TableScan(scan) => base_of_source(&scan.source),
        LogicalPlan::Projection(projection) => {
            base_of(projection.expr.get(index)?, &[&projection.input])
        }
        LogicalPlan::Aggregate(aggregate) => {
            base_of(aggregate.group_expr.get(index)?, &[&aggregate.input])
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            if index < left {
                base_of_field(&join.left, index)
            } else {
                base_of_field(&join.right, index - left)
            }
        }
        LogicalPlan::Union(union) => {
            let mut bases = union.inputs.iter().map(|input| base_of_field(input, index));
            let first = bases.next()??;
            bases
                .all(|base| base.as_ref() == Some(&first))
                .then_some(first)
        }
        LogicalPlan::Window(window) => {
            let inner = window.input.schema().fields().len();
            (index < inner).then(|| base_of_field(&window.input, index))?
        }
        LogicalPlan::SubqueryAlias(alias) => base_of_field(&alias.input, index),
        LogicalPlan::Subquery(subquery) => base_of_field(&subquery.subquery, index),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Unnest(_) => {
            let input = plan.inputs().into_iter().next()?;
            let (qualifier, field) = plan.schema().qualified_field(index);
            let column = Column::new(qualifier.cloned(), field.name());
            base_of(&Expr::Column(column), &[input])
        }
        _ => None,
    }
}

fn base_of_source(source: &std::sync::Arc<dyn TableSource>) -> Option<Url> {
    let provider = source_as_provider(source).ok()?;
    if let Some(table) = provider.downcast_ref::<FolderTable>() {
        return table.folder().cloned();
    }
    let table = provider.downcast_ref::<ListingTable>()?;
    table.table_paths().first().and_then(table_base)
}
