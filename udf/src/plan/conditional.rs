//! CASE and COALESCE over calls, in forms that DataFusion's simplifier does not write twice.
//!
//! The simplifier turns a boolean CASE into AND and OR, and COALESCE into CASE; in both the condition stands twice, so that ten
//! levels of them become a thousand copies. Elsewhere equal parts are found again, but a call must not be moved, and each copy
//! would be looked at with a guard of its own. What is small may be doubled; a condition that asks and is not small is put
//! where it stands once. What a call is needed for is [`crate::plan::extract`]'s to say.

use std::sync::{Arc, LazyLock};

use arrow::array::Array;
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::functions::core::coalesce;
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use crate::plan::extract::has_calls;

/// Parts of an expression up to which it may be written twice.
const SMALL: usize = 12;

/// The functions whose arguments DataFusion writes twice, up to the last one.
const COALESCES: [&str; 3] = ["coalesce", "ifnull", "nvl"];

/// `expr` with large conditions that ask standing once.
///
/// # Errors
/// None of its own.
pub(crate) fn written_once(expr: Expr) -> Result<Transformed<Expr>> {
    if !has_calls(&expr) {
        return Ok(Transformed::no(expr));
    }
    expr.transform_up(|expr| {
        Ok(match expr {
            // The simplifier leaves a CASE with a value as it is.
            Expr::Case(case)
                if case.expr.is_none()
                    && case.when_then_expr.iter().any(|(when, _)| is_large(when)) =>
            {
                let value = Some(Box::new(lit(true)));
                Transformed::yes(Expr::Case(Case {
                    expr: value,
                    ..case
                }))
            }
            Expr::ScalarFunction(call) if is_large_coalesce(&call) => {
                let args = call.args;
                Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                    COALESCE.clone(),
                    args,
                )))
            }
            other => Transformed::no(other),
        })
    })
}

fn is_large_coalesce(call: &ScalarFunction) -> bool {
    let but_the_last = call.args.len().saturating_sub(1);
    COALESCES.contains(&call.name())
        && call.func.inner().downcast_ref::<Coalesce>().is_none()
        && call.args[..but_the_last].iter().any(is_large)
}

fn is_large(expr: &Expr) -> bool {
    let mut parts = 0;
    // The closure gives no error.
    let _ = expr.apply(|_| {
        parts += 1;
        Ok(match parts > SMALL {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    parts > SMALL && has_calls(expr)
}

/// COALESCE that stays a function.
pub(crate) static COALESCE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(Coalesce {
        // What is volatile in its arguments is so by itself.
        signature: Signature::variadic_any(Volatility::Immutable),
    }))
});

/// The first argument that is not NULL. All are evaluated, which where one of them fails is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Coalesce {
    signature: Signature,
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        COALESCES[0]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let known = arg_types.iter().find(|data_type| !data_type.is_null());
        Ok(known.cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        coalesce().inner().return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let mut values = args.args.into_iter().rev();
        let last = values.next();
        let last =
            last.ok_or_else(|| exec_datafusion_err!("coalesce takes one argument or more"))?;
        let mut first = last.into_array(rows)?;
        for value in values {
            let value = value.into_array(rows)?;
            if value.null_count() == rows {
                continue;
            }
            first = zip(&is_not_null(&value)?, &value, &first)?;
        }
        Ok(ColumnarValue::Array(first))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, BooleanArray};
    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn the_first_that_is_not_null_is_taken() {
        let array = |values: [Option<bool>; 3]| {
            ColumnarValue::Array(Arc::new(BooleanArray::from(values.to_vec())))
        };
        let field: FieldRef = Arc::new(Field::new("b", DataType::Boolean, true));
        let result = COALESCE
            .invoke_with_args(ScalarFunctionArgs {
                args: vec![
                    array([None, Some(true), None]),
                    ColumnarValue::Scalar(ScalarValue::Boolean(None)),
                    array([Some(false), Some(false), None]),
                ],
                arg_fields: vec![Arc::clone(&field); 3],
                number_rows: 3,
                return_field: field,
                config_options: Arc::new(ConfigOptions::default()),
            })
            .unwrap();
        let result = result.into_array(3).unwrap();
        let expected = BooleanArray::from(vec![Some(false), Some(true), None]);
        assert_eq!(*result.as_boolean(), expected);
    }
}
