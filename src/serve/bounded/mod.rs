//! Functions that copy texts and lists, each of which makes no more of a batch of rows than so many bytes.
//!
//! The memory pool of the engine counts what sorts, joins and groups hold, and not what expressions make: a text beside itself, and that
//! beside itself, takes all memory of a machine in thirty steps. So before such a function runs, what it can make at most is computed of the
//! lengths of its arguments; rows go through it in parts of which that is little, and what all have made is added up. A limit on the
//! memory of the process would end every client's work instead of this one's. What makes much of a number (`repeat`) clients do without
//! altogether, see [`crate::session::of_clients`].

mod lengths;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column};

use lengths::{Lengths, total};

/// Most bytes that a function makes of a batch.
const MOST: u64 = 256 << 20;

/// Bytes that rows may become that go through a function together.
const PART: u64 = 32 << 20;

/// Most bytes that a function makes of constants, which then stand beside each row of a batch.
const MOST_CONSTANT: u64 = 64 << 10;

/// How much a function makes of its arguments at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// So many times all of them together.
    Sum(u64),
    /// The others for each byte of the first.
    Product,
}

/// The functions, by name.
static COPIES: [(&str, Growth); 20] = [
    ("array_append", Growth::Sum(1)),
    ("array_concat", Growth::Sum(1)),
    ("array_prepend", Growth::Sum(1)),
    ("array_replace", Growth::Product),
    ("array_replace_all", Growth::Product),
    ("array_replace_n", Growth::Product),
    ("array_to_string", Growth::Product),
    ("array_union", Growth::Sum(1)),
    ("arrays_zip", Growth::Sum(2)),
    ("concat", Growth::Sum(1)),
    // What stands between is written between any two.
    ("concat_ws", Growth::Product),
    ("encode", Growth::Sum(2)),
    ("make_array", Growth::Sum(1)),
    ("map", Growth::Sum(1)),
    ("overlay", Growth::Sum(1)),
    ("regexp_replace", Growth::Product),
    ("replace", Growth::Product),
    ("string_to_array", Growth::Sum(8)),
    ("to_char", Growth::Sum(8)),
    ("translate", Growth::Sum(4)),
];

/// The rule that bounds them in every statement; to come after all others.
#[derive(Debug)]
pub(super) struct BoundedCopies;

impl AnalyzerRule for BoundedCopies {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let bounded = |plan: LogicalPlan| {
            let names = NamePreserver::new(&plan);
            let rewritten = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(bounded_expr)?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })?;
            match rewritten.transformed {
                true => rewritten.map_data(LogicalPlan::recompute_schema),
                false => Ok(rewritten),
            }
        };
        plan.transform_up_with_subqueries(bounded).data()
    }

    fn name(&self) -> &str {
        "bounded_copies"
    }
}

fn bounded_expr(expr: Expr) -> Result<Transformed<Expr>> {
    let call = |function: Bounded, args| {
        let func = Arc::new(ScalarUDF::new_from_impl(function));
        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
    };
    Ok(match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let known = COPIES.iter().find(|(name, _)| *name == func.name());
            match known {
                Some((_, growth)) if !func.inner().is::<Bounded>() => call(
                    Bounded {
                        inner: func,
                        growth: *growth,
                    },
                    args,
                ),
                _ => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            }
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::StringConcat,
            right,
        }) => call(
            Bounded {
                inner: Arc::new(ScalarUDF::new_from_impl(Beside::default())),
                growth: Growth::Sum(1),
            },
            vec![*left, *right],
        ),
        other => Transformed::no(other),
    })
}

/// A function within its bound.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Bounded {
    /// What each row can become at most.
    fn most(&self, args: &ScalarFunctionArgs) -> Vec<u64> {
        let lengths: Vec<Lengths> = args.args.iter().map(Lengths::of).collect();
        let row = |row| {
            let mut each = lengths.iter().map(|one| one.get(row));
            match self.growth {
                Growth::Sum(times) => each.sum::<u64>().saturating_mul(times),
                Growth::Product => {
                    let first = each.next().unwrap_or(0).saturating_add(1);
                    // A replacement may name what it replaces, which is of the first.
                    let others = each.sum::<u64>().saturating_add(2);
                    first.saturating_mul(others)
                }
            }
        };
        (0..args.number_rows).map(row).collect()
    }

    /// What it makes of constants.
    fn constant(&self, args: ScalarFunctionArgs, most: u64) -> Result<ColumnarValue> {
        if most > MOST {
            return self.too_much();
        }
        let made = self.inner.invoke_with_args(args)?;
        let length = match &made {
            ColumnarValue::Scalar(_) => Lengths::of(&made).get(0),
            ColumnarValue::Array(array) => total(array) / (array.len() as u64).max(1),
        };
        match length > MOST_CONSTANT {
            true => self.too_much(),
            false => Ok(made),
        }
    }

    fn too_much<T>(&self) -> Result<T> {
        Err(DataFusionError::ResourcesExhausted(format!(
            "{} makes too much: at most {MOST} bytes of a batch of rows, and {MOST_CONSTANT} of constants",
            self.inner.name()
        )))
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let most = self.most(&args);
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        if args.args.iter().all(is_constant) {
            let most = most.first().copied().unwrap_or(0);
            return self.constant(args, most);
        }
        if most
            .iter()
            .fold(0, |all: u64, one| all.saturating_add(*one))
            <= PART
        {
            return self.inner.invoke_with_args(args);
        }
        let (mut made, mut parts, mut first) = (0, Vec::new(), 0);
        while first < most.len() {
            let rows = together(&most[first..]);
            if rows == 1 && most[first] > MOST {
                return self.too_much();
            }
            let part = self.inner.invoke_with_args(sliced(&args, first, rows))?;
            let part = part.into_array(rows)?;
            made += total(&part);
            if made > MOST {
                return self.too_much();
            }
            parts.push(part);
            first += rows;
        }
        let parts: Vec<_> = parts.iter().map(ArrayRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// How many of the first rows go together; at least one.
fn together(most: &[u64]) -> usize {
    let mut all = 0_u64;
    let fits = most.iter().take_while(|one| {
        all = all.saturating_add(**one);
        all <= PART
    });
    fits.count().max(1)
}

fn sliced(args: &ScalarFunctionArgs, first: usize, rows: usize) -> ScalarFunctionArgs {
    let slice = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(first, rows)),
        ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
    };
    ScalarFunctionArgs {
        args: args.args.iter().map(slice).collect(),
        arg_fields: args.arg_fields.clone(),
        number_rows: rows,
        return_field: Arc::clone(&args.return_field),
        config_options: Arc::clone(&args.config_options),
    }
}

/// The operator `||` as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Beside(Signature);

impl Default for Beside {
    fn default() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Beside {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = types else {
            return internal_err!("|| has two sides");
        };
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fields: Vec<Field> = args
            .arg_fields
            .iter()
            .zip(["left", "right"])
            .map(|(field, name)| Field::new(name, field.data_type().clone(), true))
            .collect();
        let columns = args.args.iter().map(|arg| arg.to_array(args.number_rows));
        let rows = RecordBatchOptions::new().with_row_count(Some(args.number_rows));
        let batch = RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            columns.collect::<Result<_>>()?,
            &rows,
        )?;
        let side = |name, at| Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>;
        let both = PhysicalBinary::new(side("left", 0), Operator::StringConcat, side("right", 1));
        both.evaluate(&batch)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn bounded() -> SessionContext {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_analyzer_rule(Arc::new(BoundedCopies))
            .build();
        SessionContext::new_with_state(state)
    }

    async fn rows(context: &SessionContext, sql: &str) -> Result<String> {
        let batches = context.sql(sql).await?.collect().await?;
        Ok(pretty_format_batches(&batches)?.to_string())
    }

    #[tokio::test]
    async fn what_fits_is_as_it_is_without_bounds() {
        let table = "(SELECT arrow_cast(value % 7, 'Utf8View') AS v, CAST(value AS VARCHAR) AS t, CASE WHEN value % 3 = 0 THEN NULL \
                     ELSE 'é' || CAST(value AS VARCHAR) END AS n, [value, NULL, 2] AS l, value FROM generate_series(1, 50))";
        for expr in [
            "t || n",
            "v || t",
            "v || v || 'x' || NULL",
            "'x' || t",
            "concat(t, n, v, 'x', NULL)",
            "concat_ws('-', t, n, v)",
            "concat_ws(t, 'a', 'b', n)",
            "replace(t, '1', n)",
            "replace(t, '', 'ab')",
            "regexp_replace(t, '(.)', '\\\\1\\\\1', 'g')",
            "translate(n, 'é1', 'üx')",
            "encode(t, 'hex')",
            "overlay(t placing 'abc' from 2)",
            "array_to_string(l, '--', 'none')",
            "array_append(l, value)",
            "l || [5]",
            "[t, n]",
            "array_replace_all(l, 2, value)",
            "string_to_array(t, '1')",
            "map([t], [n])",
            "'a' || 'b'",
            "count(DISTINCT t || n)",
        ] {
            let sql = format!("SELECT {expr} FROM {table}");
            let plain = rows(&SessionContext::new(), &sql).await.unwrap();
            assert_eq!(rows(&bounded(), &sql).await.unwrap(), plain, "{expr}");
        }
        let grouped = "SELECT t || 'x', count(*) FROM (VALUES ('a'), ('b'), ('a')) x(t) GROUP BY t || 'x' ORDER BY t || 'x'";
        let plain = rows(&SessionContext::new(), grouped).await.unwrap();
        assert_eq!(rows(&bounded(), grouped).await.unwrap(), plain);
    }

    #[tokio::test]
    async fn doubling_ends_before_it_takes_the_memory() {
        let doubled = |step: &str, begin: &str| {
            // Not one within the other: the parser bounds that.
            let first = format!("WITH t0 AS (SELECT {begin} AS x FROM generate_series(1, 2))");
            let all = (0..40).fold(first, |sql, at| {
                format!("{sql}, t{} AS (SELECT {step} AS x FROM t{at})", at + 1)
            });
            move |size: &str| format!("{all} SELECT max({size}) FROM t40")
        };
        let (text, list) = ("length(x)", "array_length(x)");
        for (step, begin, size) in [
            ("x || x", "'ab'", text),
            ("x || x", "CAST(value AS VARCHAR)", text),
            ("concat(x, x)", "CAST(value AS VARCHAR)", text),
            ("concat_ws(x, x, x)", "CAST(value AS VARCHAR)", text),
            ("replace(x, '1', x)", "'11' || CAST(value AS VARCHAR)", text),
            ("encode(x, 'hex')", "CAST(value AS VARCHAR)", text),
            ("array_concat(x, x)", "[value]", list),
            ("x || x", "[value]", list),
            (
                "array_to_string([x, x, x], x)",
                "CAST(value AS VARCHAR)",
                text,
            ),
        ] {
            let sql = doubled(step, begin)(size);
            let error = rows(&bounded(), &sql).await.unwrap_err();
            let root = error.find_root();
            assert!(
                matches!(root, DataFusionError::ResourcesExhausted(_)),
                "{step} of {begin}: {root}"
            );
        }
    }

    #[tokio::test]
    async fn rows_that_may_become_much_go_in_parts_and_give_the_same() {
        // Each may become 4 MB by its lengths, and becomes none of it.
        let sql = "SELECT sum(length(replace(x, 'zzz', x))) FROM (SELECT arrow_cast('abcd' || encode(sha512(CAST(value AS VARCHAR)), 'hex') || \
                   encode(sha512('x'), 'hex'), 'Utf8') AS x FROM generate_series(1, 8192))";
        let batches = bounded().sql(sql).await.unwrap().collect().await.unwrap();
        let sum = batches[0]
            .column(0)
            .as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(sum, &Int64Array::from(vec![8192 * 260]));
    }
}
