//! What DataFusion makes of the same function as one of its own async functions: the cost that the operator is there to save.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use picsift_vision::{Answer, Question, Service, Views};

use crate::fake::Fake;

/// `stock_red(image)`: whether the fake model finds the image red.
#[derive(Debug)]
struct StockRed {
    service: Service,
    signature: Signature,
}

impl PartialEq for StockRed {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for StockRed {}

impl std::hash::Hash for StockRed {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        "stock_red".hash(state);
    }
}

impl ScalarUDFImpl for StockRed {
    fn name(&self) -> &str {
        "stock_red"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(exec_datafusion_err!("stock_red is async"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for StockRed {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let column = args.args[0].to_array(args.number_rows)?;
        let images = column.as_binary::<i32>();
        let questions: Arc<[Question]> = [Question::Classes([0].into())].into();
        let answers = images.iter().map(|image| {
            let questions = Arc::clone(&questions);
            async move {
                let pixels = image::load_from_memory(image?).ok()?.into_rgb8();
                let views = Views {
                    side: 1,
                    grid: (1, 1),
                    data: pixels.into_raw()[..3].to_vec(),
                };
                match self.service.submit(views, questions).await.ok()?[0] {
                    Answer::Score(score) => Some(score >= 0.5),
                    _ => None,
                }
            }
        });
        let red: BooleanArray = futures::future::join_all(answers)
            .await
            .into_iter()
            .collect();
        Ok(ColumnarValue::Array(Arc::new(red) as ArrayRef))
    }
}

/// Gives the session `stock_red`.
pub(crate) fn register(fake: &Fake) {
    let function = StockRed {
        service: fake.service.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    };
    let function = AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf();
    fake.context.register_udf(function);
}
