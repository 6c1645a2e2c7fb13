//! The rule that checks calls of picsift's functions while a query is analysed.
//!
//! It has each call's questions checked by the model, finds the location that relative references belong to, drops a
//! `load_image` right inside another call (both read the same file), and leaves a [`Call`] in the marker's place. Then it gives
//! expressions that ask the forms in which DataFusion's rules plan them well ([`conditional`], [`correlated`]). Cost is
//! [`crate::gather`]'s subject.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use picsift_vision::CategorySpec;

use crate::call::{About, Call, CallSpec, ModelSpec};
use crate::engine::Engine;
use crate::gather::has_calls;
use crate::lineage::base_of;
use crate::marker::{Marker, Operand};
use crate::settings::PicsiftOptions;
use crate::{conditional, correlated};

/// Puts checked calls in the place of markers; see the module.
#[derive(Debug)]
pub(crate) struct ResolveCalls {
    engine: Arc<Engine>,
}

impl ResolveCalls {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Resolves the calls in the expressions of one node.
    fn resolve_node(
        &self,
        node: LogicalPlan,
        config: &ConfigOptions,
        correlated: &mut usize,
    ) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&node);
        let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
        let scopes: Vec<&LogicalPlan> = inputs.iter().collect();
        let resolved = node.map_expressions(|expr| {
            let name = names.save(&expr);
            // Top down, so that a call sees its argument as the user wrote it.
            let resolved = expr.transform_down(|expr| match marker_of(&expr) {
                Some((call, marker)) => self
                    .resolve(call, marker, &scopes, config)
                    .map(Transformed::yes),
                None => Ok(Transformed::no(expr)),
            })?;
            let resolved = resolved.transform_data(conditional::written_once)?;
            Ok(resolved.update_data(|expr| name.restore(expr)))
        })?;
        resolved.map_data(|node| match node {
            LogicalPlan::Filter(filter) if has_calls(&filter.predicate) => {
                correlated::computed_below(filter, correlated)
            }
            node => Ok(node),
        })
    }

    fn resolve(
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
        let model = || ModelSpec {
            name: settings.model.clone(),
            load: settings.load,
        };
        let about = match function.operand() {
            Operand::None => About::File,
            operand => {
                let Some(texts) = constant_texts(function.name(), &args[1])? else {
                    return Ok(Expr::Literal(
                        ScalarValue::try_from(function.return_type())?,
                        None,
                    ));
                };
                if operand == Operand::Question {
                    About::Question(model(), texts.concat(), settings.generation)
                } else {
                    let specs = texts.into_iter().map(CategorySpec::plain).collect();
                    About::Categories(model(), specs, settings.threshold)
                }
            }
        };
        let spec = CallSpec {
            function: function.name().to_string(),
            about,
            base: args.first().and_then(|image| base_of(image, inputs)),
            on_error: settings.on_error,
        };
        let resolved = Arc::new(Call::resolve(&self.engine, spec)?);
        let image = args.remove(0);
        Ok(resolved.over(image, &args))
    }
}

impl AnalyzerRule for ResolveCalls {
    fn name(&self) -> &str {
        "resolve_image_calls"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut correlated = 0;
        plan.transform_up_with_subqueries(|node| self.resolve_node(node, config, &mut correlated))
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
