//! One statement, from its text's parse to a plan that can run: what DataFusion does of it, and what picsift does itself.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use picsift_udf::{Losses, PicsiftOptions, RunStats};

use super::script::visit_queries;
use super::{Parsed, Planned, copy, summary};
use crate::batches;
use crate::error::AppError;
use crate::tables::Notes;

/// Plans a statement, and runs what it sets up.
///
/// # Errors
/// What planning gives.
pub(super) async fn planned(context: &SessionContext, parsed: Parsed) -> Result<Planned, AppError> {
    let Parsed {
        mut statement,
        summarize,
    } = parsed;
    visit_queries(&mut statement, &mut Whole);
    let replaced = copy::prepare(context, &mut statement).await;
    let replaced = replaced.map_err(AppError::Plan)?;
    let plan = context
        .state()
        .statement_to_plan(with_none(statement))
        .await
        .map_err(AppError::Plan)?;
    let plan = match reset(context, &plan) {
        // DataFusion resets its own settings only.
        Some(done) => {
            done.map_err(AppError::Plan)?;
            LogicalPlan::default()
        }
        None => plan,
    };
    let frame = batches::execute(context, plan)
        .await
        .map_err(AppError::Plan)?;
    let frame = match summarize {
        true => summary::of(context, frame).await.map_err(AppError::Run)?,
        false => frame,
    };
    let notes = context.state().config().get_extension::<Notes>();
    Ok(Planned {
        // Some statements give nothing back, not even a table without rows.
        silent: frame.schema().fields().is_empty(),
        frame,
        notes: notes.map(|notes| notes.take()).unwrap_or_default(),
        replaced,
    })
}

/// Makes `FROM x` alone `SELECT * FROM x`, in subqueries too, where DataFusion selects nothing.
struct Whole;

impl ast::VisitorMut for Whole {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Infallible> {
        whole(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn whole(body: &mut ast::SetExpr) {
    match body {
        ast::SetExpr::Select(select) if select.flavor == ast::SelectFlavor::FromFirstNoSelect => {
            let all = ast::WildcardAdditionalOptions::default();
            select.projection = vec![ast::SelectItem::Wildcard(all)];
            select.flavor = ast::SelectFlavor::FromFirst;
        }
        ast::SetExpr::SetOperation { left, right, .. } => {
            whole(left);
            whole(right);
        }
        _ => {}
    }
}

/// `SET picsift.... = NULL`, which DataFusion does not know, as the value `none`.
fn with_none(mut statement: Statement) -> Statement {
    if let Statement::Statement(inner) = &mut statement
        && let ast::Statement::Set(ast::Set::SingleAssignment {
            variable, values, ..
        }) = inner.as_mut()
        && variable
            .to_string()
            .to_ascii_lowercase()
            .starts_with("picsift.")
        && let [value] = values.as_mut_slice()
        && matches!(value, ast::Expr::Value(value) if value.value == ast::Value::Null)
    {
        *value = ast::Expr::Identifier(ast::Ident::new("none"));
    }
    statement
}

/// Takes a setting of picsift back to what the session began with; `None` for all other statements.
fn reset(context: &SessionContext, plan: &LogicalPlan) -> Option<Result<()>> {
    let LogicalPlan::Statement(PlanStatement::ResetVariable(reset)) = plan else {
        return None;
    };
    let key = reset.variable.strip_prefix("picsift.")?;
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    let settings = options.extensions.get_mut::<PicsiftOptions>()?;
    Some(settings.reset(key))
}

/// Counts the images of the next statement, and those that it loses.
pub(super) fn watch(context: &SessionContext) -> (Arc<Losses>, Arc<RunStats>) {
    let (losses, stats) = (Arc::new(Losses::default()), Arc::new(RunStats::default()));
    let state = context.state_ref();
    let mut state = state.write();
    state.config_mut().set_extension(Arc::clone(&losses));
    state.config_mut().set_extension(Arc::clone(&stats));
    (losses, stats)
}
