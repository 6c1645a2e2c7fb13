//! A call that can run: a function with its questions checked, its model started and its references' base known.
//!
//! Runs as one of DataFusion's async functions, a batch at a time. It decides nothing about plans.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::{Result, exec_err, internal_datafusion_err, internal_err};
use datafusion::logical_expr::async_udf::AsyncScalarUDFImpl;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use picsift_vision::{Answer, Question, Service};
use url::Url;

use crate::engine::Engine;
use crate::image_column::{ImageSource, image_sources};
use crate::infer::{Inquiry, Outcome, RunStats};
use crate::labelling::Labelling;
use crate::marker::ImageFunction;
use crate::settings::OnError;

/// What is asked about each image of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    /// Nothing: the function is about the file, not what it shows.
    Nothing,
    /// Whether categories hold.
    Labelling(Labelling),
    /// A question to answer in words.
    Open(Question),
}

/// A function ready to run.
pub(crate) struct Call {
    pub(crate) function: Arc<dyn ImageFunction>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) service: Option<Service>,
    pub(crate) asked: Asked,
    pub(crate) base: Option<Url>,
    pub(crate) on_error: OnError,
    pub(crate) stats: Arc<RunStats>,
    pub(crate) signature: Signature,
}

impl Call {
    /// The signature of every call: checked before, when it was still a marker.
    pub(crate) fn signature() -> Signature {
        Signature::variadic_any(Volatility::Volatile)
    }

    fn inquiry(&self, questions: Arc<[Question]>) -> Result<Inquiry> {
        let service = self.service.clone().ok_or_else(|| {
            internal_datafusion_err!("{} was planned without a model", self.function.name())
        })?;
        Ok(Inquiry {
            engine: Arc::clone(&self.engine),
            service,
            base: self.base.clone(),
            questions,
            stats: Arc::clone(&self.stats),
        })
    }

    /// The labelling that was planned.
    pub(crate) fn labelling(&self) -> Result<&Labelling> {
        match &self.asked {
            Asked::Labelling(labelling) => Ok(labelling),
            _ => internal_err!("{} was planned without categories", self.function.name()),
        }
    }

    /// The categories' scores for each image.
    pub(crate) async fn scores(
        &self,
        images: Vec<Option<ImageSource>>,
    ) -> Result<Vec<Outcome<Vec<f32>>>> {
        let questions = Arc::clone(self.labelling()?.questions());
        Ok(self.inquiry(questions)?.scores(images).await)
    }

    /// The model's words for each image.
    pub(crate) async fn texts(
        &self,
        images: Vec<Option<ImageSource>>,
    ) -> Result<Vec<Outcome<String>>> {
        let Asked::Open(question) = &self.asked else {
            return internal_err!("{} was planned without a question", self.function.name());
        };
        let questions: Arc<[Question]> = Arc::new([question.clone()]);
        let rows = self.inquiry(questions)?.answers(images).await;
        rows.into_iter()
            .map(|row| match row {
                None => Ok(None),
                Some(Err(error)) => Ok(Some(Err(error))),
                Some(Ok(answers)) => match answers.into_iter().next() {
                    Some(Answer::Text(text)) => Ok(Some(Ok(text))),
                    _ => internal_err!("the model gave no words to an open question"),
                },
            })
            .collect()
    }

    /// The values of the rows, failed ones as NULL, or an error where failures stop the query.
    pub(crate) fn settle<T>(&self, rows: Vec<Outcome<T>>) -> Result<Vec<Option<T>>> {
        rows.into_iter()
            .map(|row| match row {
                None => Ok(None),
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(_)) if self.on_error == OnError::Null => Ok(None),
                Some(Err(error)) => exec_err!("{}: {error}", self.function.name()),
            })
            .collect()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("function", &self.function.name())
            .field("asked", &self.asked)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        let model = |call: &Self| call.service.as_ref().map(|s| s.info().name.clone());
        self.function.name() == other.function.name()
            && self.asked == other.asked
            && self.base == other.base
            && self.on_error == other.on_error
            && model(self) == model(other)
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
        self.base.hash(state);
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.function.return_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} runs as an async function only", self.function.name())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Call {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(image) = args.args.first() else {
            return internal_err!("{} was planned without an image", self.function.name());
        };
        let column: ArrayRef = image.to_array(args.number_rows)?;
        let result = self.function.run(self, image_sources(&column)?).await?;
        Ok(ColumnarValue::Array(result))
    }
}
