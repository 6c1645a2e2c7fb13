//! `similarity` over images and texts as `similarity` over their embeddings.
//!
//! An image becomes a call of `embed`, a constant text one of `embed_text`; what is a list of numbers already stays. So an image that
//! is compared is asked as any other call asks it.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use picsift_images::shown;

use crate::functions::embed::Embed;
use crate::functions::embed_text::EmbedText;
use crate::functions::placeholder::PlaceholderUdf;
use crate::functions::session_model::SessionModel;
use crate::functions::similarity::{Similarity, is_vector};
use crate::pipeline::image_column::is_text;
use crate::plan::constants::with_literals;

/// Whether the expression is a call of `similarity`.
pub(crate) fn is_similarity(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Similarity>().is_some())
}

/// A call of `similarity` with its arguments embedded; any other expression as it is. `columns` are those of `inputs`.
///
/// # Errors
/// For an argument that has no type.
pub(crate) fn compared(
    expr: Expr,
    columns: &DFSchema,
    inputs: &[LogicalPlan],
    session: &SessionModel,
) -> Result<Transformed<Expr>> {
    if !is_similarity(&expr) {
        return Ok(Transformed::no(expr));
    }
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let embedded = |arg: Expr| -> Result<Expr> {
        let data_type = arg.get_type(columns)?;
        if is_vector(&data_type) || data_type.is_null() {
            return Ok(arg);
        }
        if is_text(&data_type) {
            let literal = with_literals(arg.clone(), inputs)?;
            if literal.column_refs().is_empty() && !literal.is_volatile() {
                let literal = literal.unalias_nested().data;
                words_alone(&literal)?;
                let words = EmbedText::new(session.clone()).into_udf();
                return Ok(words.call(vec![literal]));
            }
        }
        let embed = PlaceholderUdf::new(Arc::new(Embed::default()));
        Ok(embed.of_session(session.clone()).into_udf().call(vec![arg]))
    };
    let args = args.into_iter().map(embedded).collect::<Result<_>>()?;
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction {
        func,
        args,
    })))
}

/// Ends of names that are no caption's last word.
const PICTURES: [&str; 10] = [
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jxl", ".avif",
];

/// Refuses a text that is a picture's name or address: its words would be compared, and nobody would see it.
fn words_alone(text: &Expr) -> Result<()> {
    let Expr::Literal(value, _) = text else {
        return Ok(());
    };
    let Some(Some(text)) = value.try_as_str() else {
        return Ok(());
    };
    let lower = text.trim().to_lowercase();
    if !lower.contains("://") && !PICTURES.iter().any(|end| lower.ends_with(end)) {
        return Ok(());
    }
    let shown = shown(text);
    plan_err!(
        "similarity: '{shown}' looks like a picture's name, and a constant text is taken as words; write load_image('{shown}') for the \
         picture, or embed_text('{shown}') for the words"
    )
}
