//! Rows of a UNION that say which branch they are of.
//!
//! Each branch gets one more column, a number, which is passed on up to the node that asks; that drops it again, so it is seen in no
//! result and no schema. It numbers folders, which only the call knows: the data holds no location, and cannot choose one.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SubqueryAlias, Union, Unnest, lit};

use super::Lineage;

/// Names of the numbers' columns, numbered through a plan.
const PLACE: &str = "__picsift_place_";

/// `plan` with the column that tells which of `branches`, and of theirs, a row belongs to; `way` leads to their UNION. `next` numbers
/// such columns.
///
/// # Errors
/// DataFusion's, when a node cannot be made again.
pub(crate) fn expose(
    plan: &LogicalPlan,
    way: &[usize],
    branches: &[Lineage],
    next: &mut usize,
) -> Result<(LogicalPlan, Column)> {
    let Some((&input, way)) = way.split_first() else {
        return match plan {
            LogicalPlan::Union(union) => numbered(union, branches, next),
            other => internal_err!("{} is no UNION of several folders", other.display()),
        };
    };
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let Some(changed) = inputs.get_mut(input) else {
        return internal_err!("{} has no input {input}", plan.display());
    };
    let column;
    (*changed, column) = expose(changed, way, branches, next)?;
    let passed = Expr::Column(column.clone());
    let plan = match plan {
        LogicalPlan::Projection(projection) => {
            let mut columns = projection.expr.clone();
            if !columns.contains(&passed) {
                columns.push(passed);
            }
            LogicalPlan::Projection(Projection::try_new(columns, only(inputs)?)?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let name = alias.alias.clone();
            let column = Column::new(Some(name.clone()), column.name);
            let alias = SubqueryAlias::try_new(only(inputs)?, name)?;
            return Ok((LogicalPlan::SubqueryAlias(alias), column));
        }
        LogicalPlan::Unnest(unnest) => LogicalPlan::Unnest(Unnest::try_new(
            only(inputs)?,
            unnest.exec_columns.clone(),
            unnest.options.clone(),
        )?),
        other => other.with_new_exprs(other.expressions(), inputs)?,
    };
    Ok((plan, column))
}

fn only(inputs: Vec<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    match inputs.into_iter().next() {
        Some(input) => Ok(Arc::new(input)),
        None => internal_err!("a node has lost its input"),
    }
}

/// The UNION with the numbers of its rows' folders as its last column, or the column that it has already.
fn numbered(
    union: &Union,
    branches: &[Lineage],
    next: &mut usize,
) -> Result<(LogicalPlan, Column)> {
    let mut numbered = Vec::with_capacity(union.inputs.len());
    let mut first = 0_i32;
    for (input, branch) in union.inputs.iter().zip(branches) {
        let (plan, number) = match branch {
            Lineage::Branches { union: way, of } => {
                let (plan, column) = expose(input, way, of, next)?;
                let own = Expr::Column(column);
                (
                    Arc::new(plan),
                    if first == 0 { own } else { own + lit(first) },
                )
            }
            _ => (Arc::clone(input), lit(first)),
        };
        first += branch.places() as i32;
        numbered.push((plan, number));
    }
    if let Some(column) = known(union, &numbered) {
        return Ok((LogicalPlan::Union(union.clone()), column));
    }
    let name = format!("{PLACE}{next}");
    *next += 1;
    let branches = numbered.into_iter().zip(&union.inputs);
    let branches = branches.map(|((plan, number), before)| {
        // Only the columns of before: what the inner branches pass on stands between them.
        let columns = before.schema().columns().into_iter().map(Expr::Column);
        let columns = columns.chain([number.alias(&name)]).collect();
        let branch = Projection::try_new(columns, plan)?;
        Ok(Arc::new(LogicalPlan::Projection(branch)))
    });
    let inputs = branches.collect::<Result<_>>()?;
    let number = Arc::new(Field::new(&name, DataType::Int32, false));
    let fields = union
        .schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
    let fields = fields.chain([(None, number)]).collect();
    let schema = DFSchema::new_with_metadata(fields, union.schema.metadata().clone())?;
    let union = Union {
        inputs,
        schema: Arc::new(schema),
    };
    Ok((LogicalPlan::Union(union), Column::new_unqualified(name)))
}

/// The column of the UNION that holds these numbers, for a call further down.
fn known(union: &Union, numbers: &[(Arc<LogicalPlan>, Expr)]) -> Option<Column> {
    let columns = union.schema.fields().iter().enumerate();
    let mut columns = columns.filter(|(_, field)| field.name().starts_with(PLACE));
    let (_, field) = columns.find(|(place, field)| {
        let mut branches = union.inputs.iter().zip(numbers);
        branches.all(|(input, (_, number))| match input.as_ref() {
            LogicalPlan::Projection(branch) => {
                let wanted = number.clone().alias(field.name());
                branch.expr.get(*place) == Some(&wanted)
            }
            _ => false,
        })
    })?;
    Some(Column::new_unqualified(field.name()))
}
