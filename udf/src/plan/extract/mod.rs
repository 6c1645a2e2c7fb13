//! The rule that extracts inference from a plan: one [`Infer`] for each image expression, as low as one of its answers is needed.
//!
//! It runs after DataFusion's own rules, when predicates and limits are where they belong, and walks the plan from the root:
//! what nodes above ask about an image is answered by the lowest node that asks about it too, and flows up as a column. Conjuncts
//! that ask nothing go below the operator, those that ask are evaluated inside it. What the calls of an expression are is
//! [`calls`]' to say, how a required call moves through nodes [`pushdown`]'s; [`topk_pull_up`] and
//! [`filter_pull_up`] bring calls above limits and joins first; [`groups`] makes the operators, [`shape`] puts plans together around them.

mod calls;
mod filter_pull_up;
mod groups;
mod pushdown;
mod shape;
mod topk_pull_up;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, Result, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Filter, Join, JoinType, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::pipeline::quota::{AtEnd, InferenceQuota};
use crate::plan::node::Infer;
use crate::settings::PicsiftOptions;
use calls::{Found, is_once_only};
pub(crate) use calls::{call_of, has_calls};
use groups::{Answers, distinct};
use pushdown::RequiredCall;
pub(crate) use shape::restored;
use shape::{beneath, filtered, postponed};

/// Names of the answers' columns, numbered through a plan.
const ANSWER: &str = "__picsift_";

/// Gathers calls into operators; see the module.
#[derive(Debug, Default)]
pub(crate) struct ExtractInference;

impl OptimizerRule for ExtractInference {
    fn name(&self) -> &str {
        "extract_inference"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut scan = PlanScan::default();
        scan.visit(&plan)?;
        if !scan.calls && !scan.loose_filter {
            return Ok(Transformed::no(plan));
        }
        let mut extraction = Extraction {
            next: scan.next,
            quota: scan
                .quota
                .unwrap_or_else(|| quota(config.options().as_ref())),
        };
        let schema = Arc::clone(plan.schema());
        let extracted = extraction.node(plan, &mut [])?;
        Ok(Transformed::yes(restored(extracted, &schema)?))
    }
}

/// The quota that the session's settings give a query.
fn quota(config: &ConfigOptions) -> Arc<InferenceQuota> {
    let settings = PicsiftOptions::of(config);
    Arc::new(InferenceQuota::new(
        settings.max_images,
        settings.max_time,
        AtEnd::Fail,
    ))
}

/// What there is in a plan before it is extracted.
#[derive(Default)]
struct PlanScan {
    calls: bool,
    /// A filter right above an operator, which could be inside it.
    loose_filter: bool,
    /// First number that no answer has.
    next: usize,
    quota: Option<Arc<InferenceQuota>>,
}

impl PlanScan {
    fn visit(&mut self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_with_subqueries(|node| {
            self.calls |= node.expressions().iter().any(has_calls);
            if let LogicalPlan::Filter(filter) = node {
                self.loose_filter |= Infer::of(beneath(&filter.input)).is_some();
            }
            if let Some(infer) = Infer::of(node) {
                self.quota = Some(Arc::clone(&infer.quota));
                let numbers = infer.answer_names();
                let numbers = numbers.iter().filter_map(|n| n.strip_prefix(ANSWER));
                let last = numbers.filter_map(|n| n.parse::<usize>().ok()).max();
                self.next = self.next.max(last.map_or(0, |last| last + 1));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }
}

struct Extraction {
    next: usize,
    quota: Arc<InferenceQuota>,
}

impl Extraction {
    /// A name that no column of the plan has.
    fn name(&mut self) -> String {
        self.next += 1;
        format!("{ANSWER}{}", self.next - 1)
    }

    /// The node and all below it with their calls extracted. Its columns stay, and others may come after or between them;
    /// the required calls that could be answered have their columns.
    fn node(&mut self, plan: LogicalPlan, required: &mut [RequiredCall]) -> Result<LogicalPlan> {
        let plan = plan
            .map_subqueries(|subquery| {
                let schema = Arc::clone(subquery.schema());
                let extracted = self.node(subquery, &mut [])?;
                Ok(Transformed::yes(restored(extracted, &schema)?))
            })?
            .data;
        match plan {
            LogicalPlan::Join(join) => self.join(join, required),
            LogicalPlan::Sort(sort) => self.single(topk_pull_up::pull_up(sort)?, required),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Repartition(_) => self.single(plan, required),
            other => self.opaque(other),
        }
    }

    /// A node whose input must have the columns that it has, no more.
    fn opaque(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if let Some(expr) = plan.expressions().iter().find(|expr| has_calls(expr)) {
            return plan_err!(
                "{expr} cannot be asked in a {}; ask it in a subquery and use its column",
                plan.display()
            );
        }
        let inputs = plan
            .inputs()
            .into_iter()
            .map(|input| {
                let extracted = self.node(input.clone(), &mut [])?;
                restored(extracted, input.schema())
            })
            .collect::<Result<Vec<_>>>()?;
        plan.with_new_exprs(plan.expressions(), inputs)
    }

    fn single(&mut self, plan: LogicalPlan, required: &mut [RequiredCall]) -> Result<LogicalPlan> {
        let Some(input) = plan.inputs().into_iter().next().cloned() else {
            return Ok(plan);
        };
        // A filter's conjuncts guard one another while the query runs, in whichever order is best.
        let expressions = match &plan {
            LogicalPlan::Filter(filter) => split_conjunction_owned(filter.predicate.clone()),
            plan => plan.expressions(),
        };
        let own: Vec<Found> = expressions.iter().flat_map(calls::calls).collect();
        let (places, mut below): (Vec<usize>, Vec<RequiredCall>) = required
            .iter()
            .enumerate()
            .filter_map(|(place, needed)| Some((place, needed.below(&plan)?)))
            .unzip();
        let passed = below.len();
        below.extend(distinct(&own));

        let input = self.node(input, &mut below)?;
        let (plan, input_wants) = match plan {
            LogicalPlan::Filter(filter) => self.filter(filter, input, below, passed)?,
            plan => self.rewritten(plan, input, below, passed)?,
        };
        let found: Vec<(usize, Column)> = places
            .into_iter()
            .zip(&input_wants)
            .filter_map(|(place, needed)| Some((place, needed.found.clone()?)))
            .collect();
        let columns: Vec<Column> = found.iter().map(|(_, column)| column.clone()).collect();
        let plan = match plan {
            LogicalPlan::Projection(projection) if !columns.is_empty() => {
                pushdown::pass_on(projection, &columns)?
            }
            plan => plan,
        };
        for (place, column) in found {
            required[place].found = Some(RequiredCall::above(&column, &plan));
        }
        Ok(plan)
    }

    /// A node other than a filter over its extracted input, its calls read from columns.
    fn rewritten(
        &mut self,
        plan: LogicalPlan,
        mut input: LogicalPlan,
        mut below: Vec<RequiredCall>,
        passed: usize,
    ) -> Result<(LogicalPlan, Vec<RequiredCall>)> {
        let names = NamePreserver::new(&plan);
        let saved: Vec<_> = plan.expressions().iter().map(|e| names.save(e)).collect();
        let mut expressions = plan.expressions();
        loop {
            input = self.asked(input, &mut below, passed)?;
            let known = Answers::of(&below);
            expressions = expressions
                .into_iter()
                .map(|expr| known.read(expr))
                .collect::<Result<_>>()?;
            // A call whose image is another call's answer.
            let left: Vec<Found> = expressions.iter().flat_map(calls::calls).collect();
            if left.is_empty() {
                break;
            }
            below.extend(distinct(&left));
        }
        // A sort's expressions name no column.
        if !matches!(plan, LogicalPlan::Sort(_)) {
            let named = expressions.into_iter().zip(saved);
            expressions = named.map(|(expr, name)| name.restore(expr)).collect();
        }
        Ok((plan.with_new_exprs(expressions, vec![input])?, below))
    }

    /// A filter over its extracted input: what asks nothing below the operator, what asks inside it.
    fn filter(
        &mut self,
        filter: Filter,
        input: LogicalPlan,
        mut below: Vec<RequiredCall>,
        passed: usize,
    ) -> Result<(LogicalPlan, Vec<RequiredCall>)> {
        let known = Answers::of(&below);
        let conjuncts = split_conjunction_owned(filter.predicate)
            .into_iter()
            .map(|conjunct| known.read(conjunct))
            .collect::<Result<Vec<_>>>()?;
        let (mut asking, plain): (Vec<_>, Vec<_>) = conjuncts.into_iter().partition(has_calls);
        let mut plan = filtered(input, plain)?;
        let mut rest = Vec::new();
        while !asking.is_empty() {
            plan = self.asked(plan, &mut below, passed)?;
            let (mut inside, mut later) = (Vec::new(), Vec::new());
            let known = Answers::of(&below);
            for conjunct in asking {
                let conjunct = known.read(conjunct)?;
                if has_calls(&conjunct) {
                    later.push(conjunct);
                } else if is_once_only(&conjunct) {
                    rest.push(conjunct);
                } else {
                    inside.push(conjunct);
                }
            }
            plan = filtered(plan, inside)?;
            // A call whose image is another call's answer.
            let left: Vec<Found> = later.iter().flat_map(calls::calls).collect();
            below.extend(distinct(&left));
            asking = later;
        }
        if let Some(predicate) = conjunction(rest) {
            plan = LogicalPlan::Filter(Filter::try_new(predicate, plan.into())?);
        }
        Ok((plan, below))
    }

    fn join(&mut self, join: Join, required: &mut [RequiredCall]) -> Result<LogicalPlan> {
        let join = match postponed(join)? {
            LogicalPlan::Join(join) => join,
            filter => return self.node(filter, required),
        };
        if let Some((plan, conjuncts)) = self.pull_up_filters(&join)?
            && let Some(predicate) = conjunction(conjuncts)
        {
            let filter = Filter::try_new(predicate, plan.into())?;
            return self.node(LogicalPlan::Filter(filter), required);
        }
        let plan = LogicalPlan::Join(join.clone());
        let own: Vec<Found> = plan.expressions().iter().flat_map(calls::calls).collect();
        let own = distinct(&own);
        let mut sides = Vec::new();
        let mut known: Vec<RequiredCall> = Vec::new();
        for (left, side) in [(true, &join.left), (false, &join.right)] {
            let (places, mut below): (Vec<usize>, Vec<RequiredCall>) = required
                .iter()
                .enumerate()
                .filter_map(|(place, needed)| {
                    Some((place, needed.beside(side, join.join_type, left)?))
                })
                .unzip();
            let passed = below.len();
            // The condition is evaluated on both sides' rows, before any are padded.
            below.extend(
                own.iter()
                    .filter_map(|needed| needed.beside(side, JoinType::Inner, left)),
            );
            let input = self.node(side.as_ref().clone(), &mut below)?;
            let input = self.asked(input, &mut below, passed)?;
            for (place, needed) in places.into_iter().zip(&below) {
                if needed.found.is_some() {
                    required[place].found.clone_from(&needed.found);
                }
            }
            known.extend(below.into_iter().skip(passed));
            sides.push(input);
        }
        let known = Answers::of(&known);
        let expressions = plan
            .expressions()
            .into_iter()
            .map(|expr| {
                let expr = known.read(expr)?;
                if let Some(call) = calls::calls(&expr).first() {
                    return plan_err!(
                        "{} in the condition of this join is about an image of both sides; ask it in a subquery of one side, or in WHERE",
                        call.call
                    );
                }
                Ok(expr)
            })
            .collect::<Result<Vec<_>>>()?;
        plan.with_new_exprs(expressions, sides)
    }
}
