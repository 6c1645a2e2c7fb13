//! `embed_text(text)`: words as a vector in the space of images.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion_macros::user_doc;
use picsift_vision::VisionError;

use crate::functions::embed::{column, embedding_type, metadata, model_of};
use crate::functions::session_model::SessionModel;
use crate::pipeline::image_column::is_text;
use crate::pipeline::models::ModelHandle;

/// `embed_text(text)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "A text as a vector of unit length in the space of the model's image embeddings, FIXED_SIZE_LIST<FLOAT>. For a model that embeds texts (siglip2). NULL for NULL, and for a text of a column that is nothing but punctuation.",
    syntax_example = "embed_text(text)",
    sql_example = "```sql\nSET picsift.model = 'siglip2';\nSELECT file FROM 'embedded.parquet'\nORDER BY similarity(embedding, embed_text('a red car on a bridge')) DESC LIMIT 20;\n```",
    argument(
        name = "text",
        description = "The words as a caption would have them; capitals and punctuation do not count."
    ),
    related_udf(name = "embed"),
    related_udf(name = "similarity")
)]
#[derive(Debug)]
pub(crate) struct EmbedText {
    model: SessionModel,
    signature: Signature,
}

impl EmbedText {
    pub(crate) const NAME: &'static str = "embed_text";

    pub(crate) fn new(model: SessionModel) -> Self {
        Self {
            model,
            // Not evaluated while a query is planned, for that reads the weights of the text tower.
            signature: Signature::user_defined(Volatility::Volatile),
        }
    }

    pub(crate) fn into_udf(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(self)
    }

    pub(crate) fn model(&self) -> &SessionModel {
        &self.model
    }

    fn described(&self) -> Result<(ModelHandle, usize)> {
        let model = self.model.described()?;
        let name = || model.info().name.clone();
        let refused = |error: VisionError| plan_datafusion_err!("embed_text: {error}");
        let Some(embeddings) = model.embeddings() else {
            return Err(refused(VisionError::CannotEmbed { model: name() }));
        };
        if embeddings.texts.is_none() {
            return Err(refused(VisionError::CannotEmbedTexts { model: name() }));
        }
        Ok((model, embeddings.width))
    }
}

impl PartialEq for EmbedText {
    fn eq(&self, other: &Self) -> bool {
        self.model == other.model
    }
}

impl Eq for EmbedText {}

impl Hash for EmbedText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
    }
}

impl ScalarUDFImpl for EmbedText {
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

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [text] if is_text(text) || text.is_null() => Ok(embedding_type(self.described()?.1)),
            [other] => plan_err!("embed_text: the argument is {other}; expected text"),
            other => plan_err!(
                "embed_text takes 1 argument, a text; it was given {}",
                other.len()
            ),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone());
        let data_type = self.return_type(&types.collect::<Vec<_>>())?;
        let (model, _) = self.described()?;
        if let Some(Some(Some(text))) = args.scalar_arguments.first().map(|text| {
            let text = text.as_ref()?;
            text.try_as_str()
        }) {
            let said = model.says(text);
            said.map_err(|error| plan_datafusion_err!("embed_text: {error}"))?;
        }
        let field = Field::new(Self::NAME, data_type, true);
        Ok(Arc::new(field.with_metadata(metadata(&model_of(&model)))))
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        Some(Self::new(self.model.of_config(config)).into_udf())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (model, width) = self.described()?;
        let Some(argument) = args.args.into_iter().next() else {
            return plan_err!("embed_text takes 1 argument, a text");
        };
        let (texts, one): (ArrayRef, bool) = match argument {
            ColumnarValue::Array(texts) => (texts, false),
            ColumnarValue::Scalar(text) => (text.to_array()?, true),
        };
        let texts = cast(&texts, &DataType::Utf8)?;
        let texts: Vec<Option<&str>> = texts.as_string::<i32>().iter().collect();
        let store = self.model.engine().store();
        let vectors = model
            .embed_texts(&texts, store)
            .map_err(|error| plan_datafusion_err!("embed_text: {error}"))?;
        let column = column(vectors.into_iter(), width)?;
        Ok(match one {
            true => {
                ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&column, 0)?)
            }
            false => ColumnarValue::Array(column),
        })
    }
}
