//! The walk from a plan's columns down to the tables that they are read from.
//!
//! It looks at plans and expressions only, and changes neither. Whatever it does not know is [`Lineage::Unknown`], never a guess.

use std::sync::Arc;

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Join, JoinType, LogicalPlan, RecursiveQuery, Subquery, TableScan,
    Values,
};

use super::table::LocatedTable;
use super::{Lineage, table_base};
use crate::plan::node::Infer;

/// What lies around a plan: the rows that a subquery may refer to, and the tables that recursive queries fill.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Around<'a> {
    /// Nothing.
    Top,
    /// The inputs of the node whose subquery the plan is.
    Rows(&'a [Known], &'a Around<'a>),
    /// The working table of a recursive query.
    Work(&'a str, &'a [Lineage], &'a Around<'a>),
}

/// The columns of a plan with their lineage.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    schema: DFSchemaRef,
    of: Vec<Lineage>,
}

impl Known {
    /// What is known of the columns of `plan`.
    pub(crate) fn new(plan: &LogicalPlan, around: &Around<'_>) -> Self {
        Self {
            schema: Arc::clone(plan.schema()),
            of: columns(plan, around),
        }
    }

    fn find(&self, column: &Column) -> Option<Lineage> {
        let index = self.schema.maybe_index_of_column(column)?;
        self.of.get(index).cloned()
    }
}

/// The lineage of an expression over `inputs`.
pub(crate) fn lineage(expr: &Expr, inputs: &[Known], around: &Around<'_>) -> Lineage {
    match expr {
        Expr::Column(column) => {
            let mut found = inputs
                .iter()
                .enumerate()
                .filter_map(|(place, input)| Some(input.find(column)?.above(place)));
            found.next().unwrap_or(Lineage::Unknown)
        }
        Expr::OuterReferenceColumn(_, column) => outer(column, around),
        Expr::Literal(value, _) if value.is_null() => Lineage::Nothing,
        Expr::Literal(..) | Expr::Placeholder(_) | Expr::ScalarVariable(..) => Lineage::Typed,
        Expr::ScalarSubquery(subquery) => {
            let rows = Around::Rows(inputs, around);
            let mut columns = columns(&subquery.subquery, &rows).into_iter();
            columns.next().map_or(Lineage::Unknown, Lineage::settled)
        }
        // The value is that of a branch, not made of what chose it.
        Expr::Case(case) => {
            let branches = case.when_then_expr.iter().map(|(_, then)| then);
            let branches = branches.chain(&case.else_expr).map(|branch| &**branch);
            all(branches, inputs, around)
        }
        Expr::AggregateFunction(call) => all(&call.params.args, inputs, around).settled(),
        Expr::WindowFunction(call) => all(&call.params.args, inputs, around).settled(),
        Expr::BinaryExpr(binary)
            if binary.op.supports_propagation() || binary.op.is_logic_operator() =>
        {
            Lineage::Nothing
        }
        Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::InList(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Between(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_) => Lineage::Nothing,
        made => {
            let mut lineage = Lineage::Nothing;
            let walked = made.apply_children(|part| {
                let own = std::mem::replace(&mut lineage, Lineage::Nothing);
                lineage = own.and(self::lineage(part, inputs, around));
                Ok(TreeNodeRecursion::Continue)
            });
            walked.map_or(Lineage::Unknown, |_| lineage)
        }
    }
}

fn all<'e>(
    parts: impl IntoIterator<Item = &'e Expr>,
    inputs: &[Known],
    around: &Around<'_>,
) -> Lineage {
    let parts = parts.into_iter().map(|part| lineage(part, inputs, around));
    parts.fold(Lineage::Nothing, Lineage::and)
}

/// The nearest column of this name around a subquery.
fn outer(column: &Column, around: &Around<'_>) -> Lineage {
    match around {
        Around::Top => Lineage::Unknown,
        Around::Work(_, _, beyond) => outer(column, beyond),
        Around::Rows(rows, beyond) => match rows.iter().find_map(|row| row.find(column)) {
            // The branch's number cannot be had from in here.
            Some(found) => found.settled(),
            None => outer(column, beyond),
        },
    }
}

/// The lineage of each column of `plan`.
pub(super) fn columns(plan: &LogicalPlan, around: &Around<'_>) -> Vec<Lineage> {
    let width = plan.schema().fields().len();
    let mut found = match plan {
        LogicalPlan::TableScan(scan) => scanned(scan, around),
        LogicalPlan::Projection(projection) => {
            let input = [Known::new(&projection.input, around)];
            let each = projection.expr.iter();
            each.map(|expr| lineage(expr, &input, around)).collect()
        }
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate, around),
        LogicalPlan::Window(window) => {
            let input = [Known::new(&window.input, around)];
            let added = window.window_expr.iter();
            let added = added.map(|expr| lineage(expr, &input, around).settled());
            let added: Vec<_> = added.collect();
            let [input] = input;
            raised(input.of, 0).into_iter().chain(added).collect()
        }
        LogicalPlan::Join(join) => joined(join, around),
        LogicalPlan::Union(union) => {
            let branches = union.inputs.iter().map(|input| columns(input, around));
            let branches: Vec<_> = branches.collect();
            let of = |column: usize| {
                let each = branches.iter();
                each.map(|branch| branch.get(column).cloned().unwrap_or(Lineage::Unknown))
                    .collect()
            };
            let each = (0..width).map(|column| Lineage::branches(Vec::new(), of(column)));
            each.collect()
        }
        LogicalPlan::Distinct(Distinct::All(input)) => settled(columns(input, around)),
        LogicalPlan::Distinct(Distinct::On(on)) => {
            let input = [Known::new(&on.input, around)];
            let each = on.select_expr.iter();
            settled(each.map(|expr| lineage(expr, &input, around)).collect())
        }
        LogicalPlan::Unnest(unnest) => {
            let input = columns(&unnest.input, around);
            let each = unnest.dependency_indices.iter();
            let each = each.map(|&column| input.get(column).cloned());
            let each = each.map(|found| found.unwrap_or(Lineage::Unknown));
            raised(each.collect(), 0)
        }
        LogicalPlan::Values(Values { values, .. }) => (0..width)
            .map(|column| {
                let cells = values.iter().filter_map(|row| row.get(column));
                let cells = cells.map(|cell| lineage(cell, &[], around));
                cells.fold(Lineage::Nothing, Lineage::or)
            })
            .collect(),
        LogicalPlan::EmptyRelation(_) => vec![Lineage::Nothing; width],
        LogicalPlan::RecursiveQuery(query) => recursive(query, around),
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_) => match plan.inputs().first() {
            Some(input) => raised(columns(input, around), 0),
            None => Vec::new(),
        },
        // The answers after the input's columns have no table.
        LogicalPlan::Extension(_) => match Infer::of(plan) {
            Some(infer) => settled(columns(&infer.input, around)),
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    found.resize(width, Lineage::Unknown);
    found
}

fn settled(columns: Vec<Lineage>) -> Vec<Lineage> {
    columns.into_iter().map(Lineage::settled).collect()
}

fn raised(columns: Vec<Lineage>, input: usize) -> Vec<Lineage> {
    let columns = columns.into_iter().map(|column| column.above(input));
    columns.collect()
}

fn aggregated(aggregate: &Aggregate, around: &Around<'_>) -> Vec<Lineage> {
    let input = [Known::new(&aggregate.input, around)];
    let of = |expr: &Expr| lineage(expr, &input, around).settled();
    let Ok(groups) = grouping_set_to_exprlist(&aggregate.group_expr) else {
        return Vec::new();
    };
    let groups = groups.into_iter().map(of);
    // The number of the grouping set.
    let sets = matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_)));
    let number = sets.then_some(Lineage::Nothing);
    let values = aggregate.aggr_expr.iter().map(of);
    groups.chain(number).chain(values).collect()
}

fn joined(join: &Join, around: &Around<'_>) -> Vec<Lineage> {
    let left = [Known::new(&join.left, around)];
    let right = match is_lateral(&join.right) {
        true => columns(&join.right, &Around::Rows(&left, around)),
        false => columns(&join.right, around),
    };
    let [left] = left;
    let (left, right) = (raised(left.of, 0), raised(right, 1));
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            left.into_iter().chain(right).collect()
        }
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
    }
}

/// Whether the right side of a join sees the rows of the left.
pub(crate) fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(Subquery { .. }) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

/// What the rows that it begins with are, if those that it adds are the same.
pub(crate) fn recursive(query: &RecursiveQuery, around: &Around<'_>) -> Vec<Lineage> {
    let mut known = settled(columns(&query.static_term, around));
    // What a round changes comes closer to unknown, so there are few.
    loop {
        let work = Around::Work(&query.name, &known, around);
        let added = settled(columns(&query.recursive_term, &work));
        let both: Vec<_> = known
            .iter()
            .cloned()
            .zip(added)
            .map(|(a, b)| a.or(b))
            .collect();
        if both == known {
            return known;
        }
        known = both;
    }
}

fn scanned(scan: &TableScan, around: &Around<'_>) -> Vec<Lineage> {
    let width = scan.source.schema().fields().len();
    let all = source(scan, width, around);
    match &scan.projection {
        Some(chosen) => {
            let each = chosen.iter().map(|&column| all.get(column).cloned());
            each.map(|found| found.unwrap_or(Lineage::Unknown))
                .collect()
        }
        None => all,
    }
}

/// All columns of a table.
fn source(scan: &TableScan, width: usize, around: &Around<'_>) -> Vec<Lineage> {
    let Ok(provider) = source_as_provider(&scan.source) else {
        return Vec::new();
    };
    if let Some(table) = provider.downcast_ref::<ListingTable>() {
        let mut folders = table.table_paths().iter().map(table_base);
        let first = folders.next().flatten();
        return match first {
            Some(first) if folders.all(|other| other.as_ref() == Some(&first)) => {
                vec![Lineage::Folder(Arc::new(first)); width]
            }
            _ => Vec::new(),
        };
    }
    if let Some(table) = provider.downcast_ref::<LocatedTable>() {
        return table.lineage();
    }
    if let Some(table) = provider.downcast_ref::<CteWorkTable>() {
        return work(table.name(), around);
    }
    if provider.is::<GenerateSeriesTable>() || provider.is::<EmptyTable>() {
        return vec![Lineage::Nothing; width];
    }
    match provider.get_logical_plan() {
        Some(view) => settled(columns(&view, &Around::Top)),
        None => Vec::new(),
    }
}

/// The working table of the nearest recursive query of this name.
fn work(name: &str, around: &Around<'_>) -> Vec<Lineage> {
    match around {
        Around::Top => Vec::new(),
        Around::Rows(_, beyond) => work(name, beyond),
        Around::Work(own, columns, _) if *own == name => columns.to_vec(),
        Around::Work(_, _, beyond) => work(name, beyond),
    }
}
