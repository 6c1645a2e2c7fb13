//! `similarity(a, b)`: the cosine of two embeddings.
//!
//! Arguments that are images or texts are embedded first: [`crate::plan::resolve`] puts `embed` and `embed_text` around them while a
//! query is analysed. What is evaluated here is arithmetic on two lists of numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion_macros::user_doc;
use picsift_vision::embedding::dot;

use crate::functions::embed::EMBEDDING_MODEL;
use crate::pipeline::image_column::{IMAGE_TYPES, is_image_type};

/// `similarity(a, b)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "How alike two things are, -1 to 1: the cosine of their embeddings by the model. Each is an image, an embedding (a list of numbers), or a constant text, which is taken in its own words; a column of text is a column of references to images, unless it stands in embed_text. NULL where one is NULL, unreadable, or all zeros.",
    syntax_example = "similarity(image, 'a red car on a bridge')",
    sql_example = "```sql\nSET picsift.model = 'siglip2';\nSELECT file FROM 'photos/' ORDER BY similarity(image, 'sunset') DESC LIMIT 20;\nSELECT file FROM 'photos/' ORDER BY similarity(image, load_image('query.jpg')) DESC LIMIT 20;\n```",
    argument(name = "a", description = "An image, an embedding or a constant text."),
    argument(name = "b", description = "An image, an embedding or a constant text."),
    related_udf(name = "embed"),
    related_udf(name = "embed_text")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Similarity {
    signature: Signature,
}

impl Similarity {
    pub(crate) const NAME: &'static str = "similarity";

    pub(crate) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    pub(crate) fn into_udf(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(self)
    }

    fn check(fields: &[FieldRef]) -> Result<()> {
        let [a, b] = fields else {
            return plan_err!(
                "similarity takes 2 arguments, each an image, an embedding or a constant text; it was given {}",
                fields.len()
            );
        };
        for (place, field) in [a, b].into_iter().enumerate() {
            let given = field.data_type();
            if !is_vector(given) && !is_image_type(given) && !given.is_null() {
                return plan_err!(
                    "similarity: argument {} is {given}; expected an image ({IMAGE_TYPES}), an embedding (a list of numbers) or a \
                     constant text",
                    place + 1
                );
            }
        }
        if let (DataType::FixedSizeList(_, a), DataType::FixedSizeList(_, b)) =
            (a.data_type(), b.data_type())
            && a != b
        {
            return plan_err!(
                "similarity: one embedding is {a} wide and the other {b}; both must be of the same model"
            );
        }
        let model = |field: &FieldRef| field.metadata().get(EMBEDDING_MODEL).cloned();
        if let (Some(a), Some(b)) = (model(a), model(b))
            && a != b
        {
            return plan_err!(
                "similarity: one embedding is of {a} and the other of {b}, which have nothing to say to each other; embed both with one \
                 model"
            );
        }
        Ok(())
    }
}

/// Whether a column of this type holds embeddings.
pub(crate) fn is_vector(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            item.data_type().is_floating()
        }
        _ => false,
    }
}

impl ScalarUDFImpl for Similarity {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float32)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Self::check(args.arg_fields)?;
        Ok(Arc::new(Field::new(Self::NAME, DataType::Float32, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let one = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let [a, b] = args.args.as_slice() else {
            return internal_err!("similarity takes two arguments");
        };
        let (a, b) = (Vectors::of(a)?, Vectors::of(b)?);
        let rows = if one { 1 } else { rows };
        let mut cosines = Float32Array::builder(rows);
        for row in 0..rows {
            cosines.append_option(match (a.row(row), b.row(row)) {
                (Some(a), Some(b)) => cosine(a, b)?,
                _ => None,
            });
        }
        let cosines: ArrayRef = Arc::new(cosines.finish());
        Ok(match one {
            true => ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(
                &cosines, 0,
            )?),
            false => ColumnarValue::Array(cosines),
        })
    }
}

/// Rows of numbers: one for all rows, or one each.
struct Vectors {
    numbers: Float32Array,
    offsets: Vec<usize>,
    valid: Vec<bool>,
    constant: bool,
}

impl Vectors {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let (items, offsets): (ArrayRef, Vec<usize>) = match array.data_type() {
            DataType::FixedSizeList(_, width) => {
                let lists = array.as_fixed_size_list();
                let width = *width as usize;
                (
                    Arc::clone(lists.values()),
                    (0..=array.len()).map(|row| row * width).collect(),
                )
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let offsets = lists.value_offsets().iter().map(|&at| at as usize);
                (Arc::clone(lists.values()), offsets.collect())
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                let offsets = lists.value_offsets().iter().map(|&at| at as usize);
                (Arc::clone(lists.values()), offsets.collect())
            }
            DataType::Null => {
                let none: ArrayRef = Arc::new(Float32Array::from(Vec::<f32>::new()));
                (none, vec![0; array.len() + 1])
            }
            other => return internal_err!("similarity was planned over {other}"),
        };
        let numbers = cast(&items, &DataType::Float32)?;
        let numbers = numbers.as_primitive::<Float32Type>().clone();
        let is_null = array.data_type().is_null();
        let whole = |row: usize| {
            let range = offsets[row]..offsets[row + 1];
            numbers.null_count() == 0 || range.into_iter().all(|at| numbers.is_valid(at))
        };
        let valid = (0..array.len())
            .map(|row| !is_null && array.is_valid(row) && whole(row))
            .collect();
        Ok(Self {
            numbers,
            offsets,
            valid,
            constant,
        })
    }

    fn row(&self, row: usize) -> Option<&[f32]> {
        let row = if self.constant { 0 } else { row };
        self.valid[row].then(|| &self.numbers.values()[self.offsets[row]..self.offsets[row + 1]])
    }
}

/// The cosine of two vectors, -1 to 1; none where one has no direction.
fn cosine(a: &[f32], b: &[f32]) -> Result<Option<f32>> {
    if a.len() != b.len() {
        return exec_err!(
            "similarity: one embedding is {} wide and the other {}; both must be of the same model",
            a.len(),
            b.len()
        );
    }
    let lengths = f64::from(dot(a, a)).sqrt() * f64::from(dot(b, b)).sqrt();
    let cosine = f64::from(dot(a, b)) / lengths;
    Ok(cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0) as f32))
}
