//! What a node higher up requires of an image, pushed further down.
//!
//! A required call moves down the plan as long as its image can be named there, so that the lowest operator that loads the image
//! can answer it too; the column that is found for it moves up again. It decides nothing about where operators go.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, Projection};

use super::calls::{has_calls, is_once_only};
use crate::plan::call::{Call, CallKind};

/// A call that is to become a column.
#[derive(Debug, Clone)]
pub(super) struct RequiredCall {
    /// Over the columns of the plan that is asked to provide it.
    pub(super) image: Expr,
    pub(super) call: Arc<Call>,
    /// Where it is needed; `None` is everywhere. The calls that it holds are required calls too.
    pub(super) guard: Option<Expr>,
    /// The column of that plan that has it.
    pub(super) found: Option<Column>,
}

impl RequiredCall {
    fn moved(&self, image: Expr, guard: Option<Expr>) -> Self {
        Self {
            image,
            guard,
            call: Arc::clone(&self.call),
            found: None,
        }
    }

    /// The required call over the columns of the only input of `node`, where it can be named there and should be answered there.
    pub(super) fn below(&self, node: &LogicalPlan) -> Option<Self> {
        match node {
            LogicalPlan::Filter(_) | LogicalPlan::Window(_) | LogicalPlan::Repartition(_) => {
                self.same(node)
            }
            // Words for rows that a limit drops cost more than a second look at those that it keeps.
            LogicalPlan::Limit(_) if self.is_words() => None,
            LogicalPlan::Sort(sort) if sort.fetch.is_some() && self.is_words() => None,
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => self.same(node),
            LogicalPlan::SubqueryAlias(_) => self.through(&|column| source(column, node)),
            LogicalPlan::Projection(_) => self.through(&|column| {
                source(column, node).filter(|expr| !has_calls(expr) && !is_once_only(expr))
            }),
            _ => None,
        }
    }

    /// The required call over the columns of one side of a join.
    pub(super) fn beside(
        &self,
        side: &LogicalPlan,
        join_type: JoinType,
        left: bool,
    ) -> Option<Self> {
        let kept = match join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => true,
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => !left,
        };
        let may_be_padded = match join_type {
            JoinType::Left => !left,
            JoinType::Right => left,
            JoinType::Full => true,
            _ => false,
        };
        // A row without a partner has a NULL image, whose answers are NULL too: true of a column, not of any expression.
        if !kept || may_be_padded && !matches!(self.image, Expr::Column(_)) {
            return None;
        }
        self.through(&|column| {
            side.schema()
                .has_column(column)
                .then(|| Expr::Column(column.clone()))
        })
    }

    fn is_words(&self) -> bool {
        matches!(self.call.spec.kind, CallKind::Question(..))
    }

    fn same(&self, node: &LogicalPlan) -> Option<Self> {
        let input = node.inputs().into_iter().next()?;
        self.through(&|column| {
            input
                .schema()
                .has_column(column)
                .then(|| Expr::Column(column.clone()))
        })
    }

    fn through(&self, inner: &dyn Fn(&Column) -> Option<Expr>) -> Option<Self> {
        let image = substitute(&self.image, inner)?;
        // Where the guard cannot be named, all rows are asked.
        let guard = match &self.guard {
            None => None,
            Some(guard) => substitute(guard, inner).filter(|guard| !is_once_only(guard)),
        };
        Some(self.moved(image, guard))
    }

    /// The column above `node` of what was found below it; `node` is with its new input already.
    pub(super) fn above(found: &Column, node: &LogicalPlan) -> Column {
        match node {
            LogicalPlan::SubqueryAlias(alias) => {
                Column::new(Some(alias.alias.clone()), found.name.clone())
            }
            _ => found.clone(),
        }
    }
}

/// `projection` with these columns of its input passed on as well.
pub(super) fn pass_on(projection: Projection, columns: &[Column]) -> Result<LogicalPlan> {
    let Projection {
        mut expr, input, ..
    } = projection;
    for column in columns {
        // Under the name that it has: beside a column of the same name without its table, DataFusion's rules fail.
        let passed = Expr::Column(column.clone());
        if !expr.contains(&passed) {
            expr.push(passed);
        }
    }
    Ok(LogicalPlan::Projection(Projection::try_new(expr, input)?))
}

/// What a column of a projection or of a name is over the columns below.
fn source(column: &Column, node: &LogicalPlan) -> Option<Expr> {
    let index = node.schema().maybe_index_of_column(column)?;
    match node {
        LogicalPlan::SubqueryAlias(alias) => Some(Expr::Column(Column::from(
            alias.input.schema().qualified_field(index),
        ))),
        LogicalPlan::Projection(projection) => {
            Some(projection.expr.get(index)?.clone().unalias_nested().data)
        }
        _ => None,
    }
}

/// `expr`, over the columns of a projection or of a name, over the columns below.
pub(super) fn over_input(expr: &Expr, node: &LogicalPlan) -> Option<Expr> {
    substitute(expr, &|column| source(column, node))
}

fn substitute(expr: &Expr, inner: &dyn Fn(&Column) -> Option<Expr>) -> Option<Expr> {
    let mut named = true;
    let moved = expr.clone().transform(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match inner(column) {
                Some(inner) => Transformed::new(
                    inner,
                    true,
                    datafusion::common::tree_node::TreeNodeRecursion::Jump,
                ),
                None => {
                    named = false;
                    Transformed::no(expr)
                }
            },
            _ => Transformed::no(expr),
        })
    });
    moved.ok().map(|moved| moved.data).filter(|_| named)
}
