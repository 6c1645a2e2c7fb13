//! The rule that makes calls of picsift's functions runnable.
//!
//! It checks each call's categories with the model while the query is planned, finds the location that relative
//! references belong to, drops a `load_image` right inside another call (both read the same file), and puts
//! DataFusion's async form in the marker's place. It moves no call within the plan: cost is not its subject.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::async_udf::AsyncScalarUDF;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use crate::call::{Asked, Call};
use crate::engine::Engine;
use crate::hoist::hoist;
use crate::infer::RunStats;
use crate::labelling::{CategorySpec, Labelling};
use crate::lineage::base_of;
use crate::marker::{Marker, Operand};
use crate::settings::PicsiftOptions;

/// Puts runnable calls in the place of markers; see the module.
#[derive(Debug)]
pub(crate) struct LowerImageFunctions {
    engine: Arc<Engine>,
}

impl LowerImageFunctions {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Lowers the calls in the expressions of one node.
    fn lower_node(
        &self,
        node: LogicalPlan,
        config: &ConfigOptions,
    ) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&node);
        let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
        let scopes: Vec<&LogicalPlan> = inputs.iter().collect();
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            // Top down, so that a call sees its argument as the user wrote it.
            let lowered = expr.transform_down(|expr| match marker_of(&expr) {
                Some((call, marker)) => self
                    .lower(call, marker, &scopes, config)
                    .map(Transformed::yes),
                None => Ok(Transformed::no(expr)),
            })?;
            Ok(lowered.update_data(|expr| name.restore(expr)))
        })
    }

    fn lower(
        &self,
        call: &ScalarFunction,
        marker: &Marker,
        inputs: &[&LogicalPlan],
        config: &ConfigOptions,
    ) -> Result<Expr> {
        let function = marker.function();
        let settings = PicsiftOptions::of(config);
        let mut args = call.args.clone();
        while let Some(inner) = args.first().and_then(loaded_reference) {
            args[0] = inner;
        }
        let mut service = None;
        let asked = match function.operand() {
            Operand::None => Asked::Nothing,
            operand => {
                let Some(texts) = constant_texts(function.name(), &args[1])? else {
                    return Ok(Expr::Literal(
                        ScalarValue::try_from(function.return_type())?,
                        None,
                    ));
                };
                let started = self
                    .engine
                    .service(&settings.model, &settings.load)
                    .map_err(|e| plan_datafusion_err!("{e}"))?;
                let asked = if operand == Operand::Question {
                    let question = started
                        .questions()
                        .open(&texts.concat(), settings.generation);
                    Asked::Open(
                        question.map_err(|e| plan_datafusion_err!("{}: {e}", function.name()))?,
                    )
                } else {
                    let specs: Vec<_> = texts.into_iter().map(CategorySpec::plain).collect();
                    Asked::Labelling(Labelling::new(&started, &specs, settings.threshold)?)
                };
                service = Some(started);
                asked
            }
        };
        let base = args.first().and_then(|image| base_of(image, inputs));
        let runnable = Call {
            function: Arc::clone(function),
            engine: Arc::clone(&self.engine),
            service,
            asked,
            base,
            on_error: settings.on_error,
            stats: Arc::new(RunStats::default()),
            signature: Call::signature(),
        };
        let udf = AsyncScalarUDF::new(Arc::new(runnable)).into_scalar_udf();
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(udf),
            args,
        )))
    }
}

impl AnalyzerRule for LowerImageFunctions {
    fn name(&self) -> &str {
        "lower_image_functions"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            refuse_in_join(&node)?;
            let node = hoist(
                node,
                |expr| marker_of(expr).is_some(),
                |below| Ok(self.lower_node(below, config)?.data),
            )?;
            self.lower_node(node, config)
        })
        .map(|plan| plan.data)
    }
}

/// The call and its marker, where the expression is a call of one of picsift's functions.
fn marker_of(expr: &Expr) -> Option<(&ScalarFunction, &Marker)> {
    match expr {
        Expr::ScalarFunction(call) => {
            let marker = call.func.inner().downcast_ref::<Marker>()?;
            Some((call, marker))
        }
        _ => None,
    }
}

/// DataFusion refuses async functions in a join's condition, in words that help nobody.
fn refuse_in_join(node: &LogicalPlan) -> Result<()> {
    if !matches!(node, LogicalPlan::Join(_)) {
        return Ok(());
    }
    for expr in node.expressions() {
        expr.apply(|expr| match marker_of(expr) {
            Some((call, _)) => plan_err!(
                "{} cannot stand in a join's condition; call it in a subquery of one side and join on its column",
                call.name()
            ),
            None => Ok(TreeNodeRecursion::Continue),
        })?;
    }
    Ok(())
}

/// The argument of `load_image(..)`, which another function can read by itself.
fn loaded_reference(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::ScalarFunction(_) => {
            let (call, _) = marker_of(expr).filter(|(call, _)| call.name() == "load_image")?;
            call.args.first().cloned()
        }
        Expr::Alias(alias) => loaded_reference(&alias.expr),
        _ => None,
    }
}

/// The texts of a constant argument: one for text, all for a list, `None` for NULL.
fn constant_texts(function: &str, expr: &Expr) -> Result<Option<Vec<String>>> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(DFSchema::empty()))
        .build();
    let constant = match expr.clone().unalias_nested().data {
        Expr::Column(column) => {
            return plan_err!(
                "{function}: argument 2 is the column {column}; it must be a constant, because the model is asked the \
                 same of every image"
            );
        }
        literal @ Expr::Literal(..) => literal,
        other => ExprSimplifier::new(context).simplify(other)?,
    };
    let Expr::Literal(value, _) = constant else {
        return plan_err!(
            "{function}: argument 2 is {expr}; it must be a constant, because the model is asked the same of every image"
        );
    };
    if value.is_null() {
        return Ok(None);
    }
    let texts = match &value {
        ScalarValue::List(list) => list_items(list.value(0))?,
        ScalarValue::LargeList(list) => list_items(list.value(0))?,
        ScalarValue::FixedSizeList(list) => list_items(list.value(0))?,
        text => vec![text.clone()],
    };
    texts
        .iter()
        .map(|text| match text.try_as_str() {
            Some(Some(text)) => Ok(text.to_string()),
            _ => plan_err!("{function}: argument 2 holds a NULL; name a category such as 'dog'"),
        })
        .collect::<Result<Vec<_>>>()
        .map(Some)
}

fn list_items(items: arrow::array::ArrayRef) -> Result<Vec<ScalarValue>> {
    (0..items.len())
        .map(|index| ScalarValue::try_from_array(&items, index))
        .collect()
}
