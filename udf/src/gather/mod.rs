//! The rule that gathers a plan's questions: one [`Infer`] for each image expression, as low as one of its answers is needed.
//!
//! It runs behind DataFusion's own rules, when predicates and limits are where they belong, and walks the plan from the root:
//! what nodes above ask about an image is answered by the lowest node that asks about it too, and flows up as a column. Conjuncts
//! that ask nothing go below the operator, those that ask are evaluated inside it. What the calls of an expression are is
//! [`calls`]' to say, how a want moves through nodes [`wants`]'; [`defer`] and
//! [`lift`] bring calls above limits and joins first; [`groups`] makes the operators, [`shape`] puts plans together around them.

mod calls;
mod defer;
mod groups;
mod lift;
mod shape;
mod wants;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, Result, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Filter, Join, JoinType, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::node::Infer;
use crate::quota::{AtEnd, InferenceQuota};
use crate::settings::PicsiftOptions;
use calls::{Found, is_once_only};
pub(crate) use calls::{call_of, has_calls};
use groups::{Answers, distinct};
pub(crate) use shape::restored;
use shape::{beneath, filtered, postponed};
use wants::Want;

/// Names of the answers' columns, numbered through a plan.
const ANSWER: &str = "__picsift_";

/// Gathers calls into operators; see the module.
#[derive(Debug, Default)]
pub(crate) struct GatherCalls;

impl OptimizerRule for GatherCalls {
    fn name(&self) -> &str {
        "gather_image_calls"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut survey = Survey::default();
        survey.see(&plan)?;
        if !survey.calls && !survey.loose_filter {
            return Ok(Transformed::no(plan));
        }
        let mut gatherer = Gatherer {
            next: survey.next,
            quota: survey
                .quota
                .unwrap_or_else(|| quota(config.options().as_ref())),
        };
        let schema = Arc::clone(plan.schema());
        let gathered = gatherer.node(plan, &mut [])?;
        Ok(Transformed::yes(restored(gathered, &schema)?))
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

/// What there is in a plan before it is gathered.
#[derive(Default)]
struct Survey {
    calls: bool,
    /// A filter right above an operator, which could be inside it.
    loose_filter: bool,
    /// First number that no answer has.
    next: usize,
    quota: Option<Arc<InferenceQuota>>,
}

impl Survey {
    fn see(&mut self, plan: &LogicalPlan) -> Result<()> {
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

struct Gatherer {
    next: usize,
    quota: Arc<InferenceQuota>,
}

impl Gatherer {
    /// A name that no column of the plan has.
    fn name(&mut self) -> String {
        self.next += 1;
        format!("{ANSWER}{}", self.next - 1)
    }

    /// The node and all below it with their calls gathered. Its columns stay, and others may come behind or between them;
    /// the wants that could be answered have their columns.
    fn node(&mut self, plan: LogicalPlan, wants: &mut [Want]) -> Result<LogicalPlan> {
        let plan = plan
            .map_subqueries(|subquery| {
                let schema = Arc::clone(subquery.schema());
                let gathered = self.node(subquery, &mut [])?;
                Ok(Transformed::yes(restored(gathered, &schema)?))
            })?
            .data;
        match plan {
            LogicalPlan::Join(join) => self.join(join, wants),
            LogicalPlan::Sort(sort) => self.single(defer::defer(sort)?, wants),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Repartition(_) => self.single(plan, wants),
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
                let gathered = self.node(input.clone(), &mut [])?;
                restored(gathered, input.schema())
            })
            .collect::<Result<Vec<_>>>()?;
        plan.with_new_exprs(plan.expressions(), inputs)
    }

    fn single(&mut self, plan: LogicalPlan, wants: &mut [Want]) -> Result<LogicalPlan> {
        let Some(input) = plan.inputs().into_iter().next().cloned() else {
            return Ok(plan);
        };
        // A filter's conjuncts guard one another while the query runs, in whichever order is best.
        let expressions = match &plan {
            LogicalPlan::Filter(filter) => split_conjunction_owned(filter.predicate.clone()),
            plan => plan.expressions(),
        };
        let own: Vec<Found> = expressions.iter().flat_map(calls::calls).collect();
        let (places, mut below): (Vec<usize>, Vec<Want>) = wants
            .iter()
            .enumerate()
            .filter_map(|(place, want)| Some((place, want.below(&plan)?)))
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
            .filter_map(|(place, want)| Some((place, want.found.clone()?)))
            .collect();
        let columns: Vec<Column> = found.iter().map(|(_, column)| column.clone()).collect();
        let plan = match plan {
            LogicalPlan::Projection(projection) if !columns.is_empty() => {
                wants::pass_on(projection, &columns)?
            }
            plan => plan,
        };
        for (place, column) in found {
            wants[place].found = Some(Want::above(&column, &plan));
        }
        Ok(plan)
    }

    /// A node other than a filter over its gathered input, its calls read from columns.
    fn rewritten(
        &mut self,
        plan: LogicalPlan,
        mut input: LogicalPlan,
        mut below: Vec<Want>,
        passed: usize,
    ) -> Result<(LogicalPlan, Vec<Want>)> {
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

    /// A filter over its gathered input: what asks nothing below the operator, what asks inside it.
    fn filter(
        &mut self,
        filter: Filter,
        input: LogicalPlan,
        mut below: Vec<Want>,
        passed: usize,
    ) -> Result<(LogicalPlan, Vec<Want>)> {
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

    fn join(&mut self, join: Join, wants: &mut [Want]) -> Result<LogicalPlan> {
        let join = match postponed(join)? {
            LogicalPlan::Join(join) => join,
            filter => return self.node(filter, wants),
        };
        if let Some((plan, conjuncts)) = self.lift(&join)?
            && let Some(predicate) = conjunction(conjuncts)
        {
            let filter = Filter::try_new(predicate, plan.into())?;
            return self.node(LogicalPlan::Filter(filter), wants);
        }
        let plan = LogicalPlan::Join(join.clone());
        let own: Vec<Found> = plan.expressions().iter().flat_map(calls::calls).collect();
        let own = distinct(&own);
        let mut sides = Vec::new();
        let mut known: Vec<Want> = Vec::new();
        for (left, side) in [(true, &join.left), (false, &join.right)] {
            let (places, mut below): (Vec<usize>, Vec<Want>) = wants
                .iter()
                .enumerate()
                .filter_map(|(place, want)| Some((place, want.beside(side, join.join_type, left)?)))
                .unzip();
            let passed = below.len();
            // The condition is evaluated on both sides' rows, before any are padded.
            below.extend(
                own.iter()
                    .filter_map(|want| want.beside(side, JoinType::Inner, left)),
            );
            let input = self.node(side.as_ref().clone(), &mut below)?;
            let input = self.asked(input, &mut below, passed)?;
            for (place, want) in places.into_iter().zip(&below) {
                if want.found.is_some() {
                    wants[place].found.clone_from(&want.found);
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
