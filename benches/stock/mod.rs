//! `stock_classify(image, category)` as one of DataFusion's own async functions, with picsift's decoder and model.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, stream};
use picsift_images::{DecodePool, Geometry};
use picsift_udf::Engine;
use picsift_vision::{Answer, Category, InputGeometry, LoadOptions, RgbImage, Service};

/// Images of a batch under way at once, as many as the operator has.
const IN_FLIGHT: usize = 64;

#[derive(Debug)]
struct StockClassify {
    engine: Arc<Engine>,
    service: Service,
    signature: Signature,
}

impl PartialEq for StockClassify {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for StockClassify {}

impl Hash for StockClassify {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "stock_classify".hash(state);
    }
}

/// The model that is asked: one that sees every image in the same way.
pub(crate) const MODEL: &str = "efficientnet-lite0";

/// Gives the session the function.
pub(crate) fn register(context: &SessionContext, engine: &Arc<Engine>) {
    let service = engine.service(MODEL, &LoadOptions::default());
    let function = StockClassify {
        engine: Arc::clone(engine),
        service: service.unwrap(),
        signature: Signature::any(2, Volatility::Immutable),
    };
    context.register_udf(AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf());
}

impl ScalarUDFImpl for StockClassify {
    fn name(&self) -> &str {
        "stock_classify"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(exec_datafusion_err!("stock_classify is async"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for StockClassify {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(category))) = &args.args[1] else {
            return Err(exec_datafusion_err!("the category is no constant"));
        };
        let question = self
            .service
            .questions()
            .category(&Category::named(category));
        let questions: Arc<[_]> = [question.unwrap()].into();
        let column = args.args[0].to_array(args.number_rows)?;
        let images = arrow::compute::cast(&column, &DataType::Binary)?;
        let images: Vec<Bytes> = images
            .as_binary::<i32>()
            .iter()
            .map(|image| Bytes::copy_from_slice(image.unwrap_or_default()))
            .collect();
        let pool: &DecodePool = self.engine.pool();
        let InputGeometry::CentreCrop { short_side, size } = self.service.info().input else {
            return Err(exec_datafusion_err!("another geometry"));
        };
        let answers: Vec<Option<bool>> = stream::iter(images)
            .map(|image| {
                let questions = Arc::clone(&questions);
                async move {
                    let geometry = Geometry::CentreCrop { short_side, size };
                    let pixels = pool.prepare(image, geometry).await.ok()?.value;
                    let image = RgbImage {
                        width: pixels.width,
                        height: pixels.height,
                        data: pixels.data,
                    };
                    let views = self.service.preprocessor().views(image).ok()?;
                    match self.service.submit(views, questions).await.ok()?[0] {
                        Answer::Score(score) => {
                            Some(score >= self.service.info().default_threshold)
                        }
                        _ => None,
                    }
                }
            })
            .buffered(IN_FLIGHT)
            .collect()
            .await;
        let answers: BooleanArray = answers.into_iter().collect();
        Ok(ColumnarValue::Array(Arc::new(answers) as ArrayRef))
    }
}
