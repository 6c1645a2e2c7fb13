//! The rule that checks calls of picsift's functions while a query is analysed.
//!
//! It has each call's questions checked by the model, finds the location that relative references belong to, drops a
//! `load_image` right inside another call (both read the same file), and leaves a [`Call`] in the placeholder's place. Then it gives
//! expressions that ask the forms in which DataFusion's rules plan them well ([`conditional`], [`correlated`], [`grouping`]). Cost is
//! [`crate::plan::extract`]'s subject.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, RecursiveQuery};
use datafusion::optimizer::AnalyzerRule;
use picsift_vision::CategorySpec;
use url::Url;

use crate::functions::placeholder::{Operand, PlaceholderUdf};
use crate::functions::session_model::SessionModel;
use crate::pipeline::base::{Base, placed, typed_folder};
use crate::pipeline::engine::Engine;
use crate::plan::call::{Call, CallKind, CallSpec};
use crate::plan::constants::{constant_texts, with_literals};
use crate::plan::extract::restored;
use crate::plan::lineage::{self, Around, Known, Lineage, is_lateral, recursive};
use crate::plan::unknown::unknown_categories;
use crate::plan::{conditional, correlated, embeddings, grouping};
use crate::settings::PicsiftOptions;

/// Puts checked calls in the place of placeholders; see the module.
#[derive(Debug)]
pub(crate) struct ResolveCalls {
    engine: Arc<Engine>,
}

/// What one analysis goes by.
struct Pass<'a> {
    config: &'a ConfigOptions,
    /// Number of the next column that tells a row's folder.
    next: usize,
    /// Number of the next column of [`correlated`].
    correlated: usize,
}

/// The inputs of a node whose calls are resolved, and what is known of their columns.
struct Inputs<'a> {
    plans: Vec<LogicalPlan>,
    known: Vec<Known>,
    around: &'a Around<'a>,
    /// Whether they have columns that they had not before.
    changed: bool,
}

impl ResolveCalls {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Resolves the calls of a node and of all below it; its columns stay.
    fn node(
        &self,
        plan: LogicalPlan,
        around: &Around<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<LogicalPlan> {
        let plan = match plan {
            LogicalPlan::Aggregate(aggregate) => {
                let has_placeholder = |expr: &Expr| {
                    expr.exists(|part| Ok(is_placeholder(part)))
                        .unwrap_or(false)
                };
                LogicalPlan::Aggregate(grouping::computed_below(aggregate, has_placeholder)?)
            }
            plan => plan,
        };
        let plan = self.below(plan, around, pass)?;
        let plan = if has_any(&plan, is_subquery) {
            let rows: Vec<Known> = plan
                .inputs()
                .into_iter()
                .map(|input| Known::new(input, around))
                .collect();
            let around = Around::Rows(&rows, around);
            plan.map_subqueries(|subquery| {
                self.node(subquery, &around, pass).map(Transformed::yes)
            })?
            .data
        } else {
            plan
        };
        if let LogicalPlan::Dml(statement) = &plan {
            lineage::receive(statement);
        }
        if !has_any(&plan, is_placeholder) {
            return Ok(plan);
        }
        self.expressions(plan, around, pass)
    }

    fn below(
        &self,
        plan: LogicalPlan,
        around: &Around<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Join(join) if is_lateral(&join.right) => {
                let left = self.node(Arc::unwrap_or_clone(join.left), around, pass)?;
                let rows = [Known::new(&left, around)];
                let rows = Around::Rows(&rows, around);
                let right = self.node(Arc::unwrap_or_clone(join.right), &rows, pass)?;
                Ok(LogicalPlan::Join(Join {
                    left: Arc::new(left),
                    right: Arc::new(right),
                    ..join
                }))
            }
            LogicalPlan::RecursiveQuery(query) => {
                let rows = recursive(&query, around);
                let work = Around::Work(&query.name, &rows, around);
                let first = self.node(Arc::unwrap_or_clone(query.static_term), around, pass)?;
                let more = self.node(Arc::unwrap_or_clone(query.recursive_term), &work, pass)?;
                Ok(LogicalPlan::RecursiveQuery(RecursiveQuery {
                    static_term: Arc::new(first),
                    recursive_term: Arc::new(more),
                    name: query.name.clone(),
                    is_distinct: query.is_distinct,
                    schema: query.schema,
                }))
            }
            plan => {
                let resolved = plan
                    .map_children(|input| self.node(input, around, pass).map(Transformed::yes))?;
                Ok(resolved.data)
            }
        }
    }

    /// Resolves the calls in the expressions of one node.
    fn expressions(
        &self,
        plan: LogicalPlan,
        around: &Around<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&plan);
        let schema = Arc::clone(plan.schema());
        let plans: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        let mut inputs = Inputs {
            known: plans.iter().map(|plan| Known::new(plan, around)).collect(),
            plans,
            around,
            changed: false,
        };
        let columns = merge_schema(&inputs.plans.iter().collect::<Vec<_>>());
        let session = SessionModel::new(Arc::clone(&self.engine), pass.config);
        let resolved = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_down(|expr| {
                embeddings::compared(expr, &columns, &inputs.plans, &session)
            })?;
            let expr = expr.data;
            // Top down, so that a call sees its argument as the user wrote it.
            let resolved = expr.transform_down(|expr| match placeholder_of(&expr) {
                Some((call, placeholder)) => self
                    .resolve(call, placeholder, &mut inputs, pass)
                    .map(Transformed::yes),
                None => Ok(Transformed::no(expr)),
            })?;
            let resolved = resolved.transform_data(conditional::written_once)?;
            Ok(resolved.update_data(|expr| name.restore(expr)))
        })?;
        let mut plan = resolved.data;
        if inputs.changed {
            plan = plan.with_new_exprs(plan.expressions(), inputs.plans)?;
        }
        if let LogicalPlan::Filter(filter) = plan {
            plan = correlated::computed_below(filter, &mut pass.correlated)?;
        }
        match inputs.changed {
            true => restored(plan, &schema),
            false => Ok(plan),
        }
    }

    fn resolve(
        &self,
        call: &ScalarFunction,
        placeholder: &PlaceholderUdf,
        inputs: &mut Inputs<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<Expr> {
        let function = placeholder.function();
        let settings = PicsiftOptions::of(pass.config);
        let null = || {
            let null = ScalarValue::try_from(function.return_type())?;
            Ok(Expr::Literal(null, None))
        };
        let mut args = call.args.clone();
        let mut folder = match function.operand() {
            Operand::Folder => folder_of(args.get(1))?,
            _ => Named::Nowhere,
        };
        while let Some(loading) = args.first().and_then(loading) {
            folder = folder_of(loading.args.get(1))?;
            args[0] = loading.args[0].clone();
        }
        let model = || settings.model_spec();
        let kind = match function.operand() {
            Operand::None | Operand::Folder => match placeholder.model() {
                Some(model) => CallKind::Embedding(model.spec().clone()),
                None => CallKind::File,
            },
            operand => {
                let question = with_literals(args[1].clone(), &inputs.plans)?;
                let Some(texts) = constant_texts(function.name(), &question, SAME_QUESTION)? else {
                    return null();
                };
                if operand == Operand::Question {
                    CallKind::Question(model(), texts.concat(), settings.generation)
                } else {
                    let style = settings.prompt_style;
                    let heads = settings.heads.as_ref();
                    let spec = |text: String| {
                        let head = heads.and_then(|heads| heads.get(&text)).cloned();
                        CategorySpec::plain(text).with_style(style).with_head(head)
                    };
                    let specs = texts.into_iter().map(spec).collect();
                    CallKind::Categories(model(), specs, settings.threshold)
                }
            }
        };
        let cascade = match (&settings.cascade, &kind) {
            (Some(read), CallKind::Categories(model, categories, threshold)) => {
                read.bind(&self.engine, model, categories, *threshold)?
            }
            _ => None,
        };
        let image = args.remove(0);
        let (image, base) = match folder {
            Named::Null => return null(),
            Named::At(folder) => (image, Base::At(Arc::new(folder))),
            Named::Nowhere => inputs.base(image, settings.base.as_ref(), &mut pass.next)?,
        };
        let spec = CallSpec {
            kind,
            base,
            on_error: settings.on_error,
            cascade,
        };
        let resolved = Arc::new(Call::resolve(&self.engine, Arc::clone(function), spec)?);
        Ok(resolved.over(image, &args))
    }
}

impl Inputs<'_> {
    /// The folder of an image's relative references; where rows have several, the image says which.
    fn base(
        &mut self,
        image: Expr,
        typed: Option<&Arc<Url>>,
        next: &mut usize,
    ) -> Result<(Expr, Base)> {
        let found = lineage::lineage(&image, &self.known, self.around);
        let called = match &image {
            Expr::Column(column) => column.name.clone(),
            other => other.human_display().to_string(),
        };
        let base = found.base(typed, &called);
        let (Base::Several(_), Lineage::Branches { union, of }) = (&base, &found) else {
            return Ok((image, base));
        };
        let Some((&input, way)) = union.split_first() else {
            return internal_err!("the UNION of {called} is not below it");
        };
        let (plan, place) = lineage::expose(&self.plans[input], way, of, next)?;
        self.known[input] = Known::new(&plan, self.around);
        self.plans[input] = plan;
        self.changed = true;
        Ok((placed(image, Expr::Column(place)), base))
    }
}

impl AnalyzerRule for ResolveCalls {
    fn name(&self) -> &str {
        "resolve_image_calls"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut concerned = false;
        plan.apply_with_subqueries(|node| {
            concerned = matches!(node, LogicalPlan::Dml(_)) || has_any(node, is_placeholder);
            Ok(match concerned {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })?;
        if !concerned {
            return Ok(plan);
        }
        let mut pass = Pass {
            config,
            next: 0,
            correlated: 0,
        };
        // Kept for the case that a category is refused: others of the query may be too.
        let whole = plan.clone();
        self.node(plan, &Around::Top, &mut pass).map_err(|error| {
            let model = PicsiftOptions::of(config).model_spec();
            let model = self.engine.model(&model.name, &model.load).ok();
            let all = model.and_then(|model| unknown_categories(&whole, &model));
            all.unwrap_or(error)
        })
    }
}

/// Whether an expression of the node, or a part of one, is so.
fn has_any(plan: &LogicalPlan, is: impl Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    // No error can come of it: the closures give none.
    let _ = plan.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(is(part)))?;
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    found
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
    )
}

/// The folder that a call names.
enum Named {
    /// None.
    Nowhere,
    /// NULL, of which nothing is known.
    Null,
    At(Url),
}

fn folder_of(expr: Option<&Expr>) -> Result<Named> {
    let Some(expr) = expr else {
        return Ok(Named::Nowhere);
    };
    let Some(texts) = constant_texts("load_image", expr, OWN_FOLDER)? else {
        return Ok(Named::Null);
    };
    typed_folder(&texts.concat())
        .map(Named::At)
        .or_else(|error| plan_err!("load_image: argument 2: {error}"))
}

/// Why arguments are constants.
const SAME_QUESTION: &str = "because the model is asked the same of every image";
const OWN_FOLDER: &str = "because only the person may say where a table's references lead";

/// Whether the expression is a call that stands in a plan only until it is resolved, or compares what such calls give.
fn is_placeholder(expr: &Expr) -> bool {
    placeholder_of(expr).is_some() || embeddings::is_similarity(expr)
}

/// The call and its placeholder, where the expression is a call of one of picsift's functions.
fn placeholder_of(expr: &Expr) -> Option<(&ScalarFunction, &PlaceholderUdf)> {
    match expr {
        Expr::ScalarFunction(call) => {
            let placeholder = call.func.inner().downcast_ref::<PlaceholderUdf>()?;
            Some((call, placeholder))
        }
        _ => None,
    }
}

/// The call of `load_image(..)` that an expression is: another function can read what it reads by itself.
fn loading(expr: &Expr) -> Option<ScalarFunction> {
    match expr {
        Expr::ScalarFunction(_) => {
            let (call, _) = placeholder_of(expr).filter(|(call, _)| call.name() == "load_image")?;
            Some(call.clone())
        }
        Expr::Alias(alias) => loading(&alias.expr),
        _ => None,
    }
}
