//! What a SQL function of picsift is to the planner: a placeholder.
//!
//! A [`PlaceholderUdf`] carries name, documentation, argument checks and result type, and cannot run. [`crate::plan::resolve`] checks
//! what it asks while the query is analysed, [`crate::plan::extract`] puts the operator that asks in its place.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};

use crate::functions::kernel::Kernel;
use crate::functions::session_model::SessionModel;
use crate::pipeline::image_column::{IMAGE_TYPES, is_image_type, is_string};
use crate::pipeline::models::ModelHandle;

/// The argument after the image in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Nothing: `image_info(image)`, `embed(image)`.
    None,
    /// The folder of relative references, which may be left out.
    Folder,
    /// One category's name.
    Category,
    /// A list of categories' names.
    Categories,
    /// A question in words.
    Question,
}

impl Operand {
    fn expected(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Folder => "a folder as text, such as 'photos/'",
            Self::Category => "a category as text, such as 'dog'",
            Self::Categories => "a list of categories, such as ['dog', 'cat']",
            Self::Question => "a question as text, such as 'What is in this picture?'",
        }
    }

    /// A type that it may have.
    fn example(self) -> Option<DataType> {
        match self {
            Self::None => None,
            Self::Folder | Self::Category | Self::Question => Some(DataType::Utf8),
            Self::Categories => Some(DataType::new_list(DataType::Utf8, true)),
        }
    }

    fn accepts(self, data_type: &DataType) -> bool {
        match self {
            Self::None => false,
            Self::Folder | Self::Category | Self::Question => {
                is_string(data_type) || data_type.is_null()
            }
            Self::Categories => match data_type {
                DataType::List(item)
                | DataType::LargeList(item)
                | DataType::FixedSizeList(item, _) => {
                    is_string(item.data_type()) || item.data_type().is_null()
                }
                other => other.is_null(),
            },
        }
    }
}

/// One SQL function over an image: everything that is its own.
pub(crate) trait ImageFunction: Debug + Send + Sync + 'static {
    /// Name in SQL.
    fn name(&self) -> &'static str;

    /// Documentation for `SHOW FUNCTIONS` and the manual.
    fn documentation(&self) -> Option<&Documentation>;

    /// The argument after the image.
    fn operand(&self) -> Operand;

    /// Type of the result; always nullable.
    fn return_type(&self) -> DataType;

    /// The step from what is known of images to a column.
    fn kernel(&self) -> Kernel;

    /// The function as it is for a model, where its result type is the model's to say.
    ///
    /// # Errors
    /// A planning error for a model that does not have what the function gives.
    fn of_model(&self, _model: &ModelHandle) -> Result<Option<Arc<dyn ImageFunction>>> {
        Ok(None)
    }

    /// The function as it is for these categories, where its result type follows from them.
    fn of_categories(&self, _names: &[String]) -> Option<Arc<dyn ImageFunction>> {
        None
    }

    /// What the field of the result carries beside its type.
    fn metadata(&self) -> Option<HashMap<String, String>> {
        None
    }

    /// Whether a failure is part of the value, so that it stops no query, whatever `picsift.on_error` says.
    fn tells_errors(&self) -> bool {
        false
    }
}

/// The field of a function's result.
pub(crate) fn result_field(function: &dyn ImageFunction, name: &str) -> Field {
    let field = Field::new(name, function.return_type(), true);
    match function.metadata() {
        Some(metadata) => field.with_metadata(metadata),
        None => field,
    }
}

/// The planner's view of an [`ImageFunction`].
#[derive(Debug)]
pub(crate) struct PlaceholderUdf {
    function: Arc<dyn ImageFunction>,
    signature: Signature,
    /// The model that the session names, for a function whose result is the model's to say.
    model: Option<SessionModel>,
}

impl PlaceholderUdf {
    pub(crate) fn new(function: Arc<dyn ImageFunction>) -> Self {
        let operand = function.operand().example();
        // Any types are let in, to be checked in `return_type`; the others are the forms that SHOW FUNCTIONS lists.
        let listed = [DataType::Binary, DataType::Utf8].map(|image| {
            TypeSignature::Exact([image].into_iter().chain(operand.clone()).collect())
        });
        let short = (function.operand() == Operand::Folder).then(|| {
            [DataType::Binary, DataType::Utf8].map(|image| TypeSignature::Exact(vec![image]))
        });
        let forms = [TypeSignature::UserDefined].into_iter();
        let forms = forms.chain(short.into_iter().flatten()).chain(listed);
        Self {
            function,
            // Volatile: a call stays where it was written, once, until its questions are gathered. The planner would evaluate
            // it while planning, push it into a scan, or double it by inlining projections otherwise.
            signature: Signature::one_of(forms.collect(), Volatility::Volatile),
            model: None,
        }
    }

    /// The same for a session of this model.
    pub(crate) fn of_session(self, model: SessionModel) -> Self {
        Self {
            model: Some(model),
            ..self
        }
    }

    /// The field of the result.
    fn result(&self) -> Result<Field> {
        let function = match &self.model {
            Some(model) => self.function.of_model(&model.described()?)?,
            None => None,
        };
        let function = function.as_ref().unwrap_or(&self.function);
        Ok(result_field(&**function, function.name()))
    }

    pub(crate) fn function(&self) -> &Arc<dyn ImageFunction> {
        &self.function
    }

    /// The session's model, for a function whose result is the model's to say.
    pub(crate) fn model(&self) -> Option<&SessionModel> {
        self.model.as_ref()
    }

    pub(crate) fn into_udf(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(self)
    }

    /// `column` names the first argument, where it has a name.
    fn check(&self, arg_types: &[DataType], column: Option<&str>) -> Result<()> {
        let name = self.function.name();
        let operand = self.function.operand();
        let (expected, form) = match operand {
            Operand::None => (1..=1, "1 argument, an image".to_string()),
            Operand::Folder => {
                let form = operand.expected();
                (1..=2, format!("1 or 2 arguments, an image and {form}"))
            }
            operand => {
                let form = operand.expected();
                (2..=2, format!("2 arguments, an image and {form}"))
            }
        };
        if !expected.contains(&arg_types.len()) {
            return plan_err!("{name} takes {form}; it was given {}", arg_types.len());
        }
        if !is_image_type(&arg_types[0]) && !arg_types[0].is_null() {
            let column = column.map(|column| format!(" ({column})"));
            return plan_err!(
                "{name}: argument 1, the image, is {}{}; expected {IMAGE_TYPES}",
                arg_types[0],
                column.unwrap_or_default()
            );
        }
        match arg_types.get(1) {
            Some(given) if !operand.accepts(given) => {
                plan_err!(
                    "{name}: argument 2 is {given}; expected {}",
                    operand.expected()
                )
            }
            _ => Ok(()),
        }
    }
}

impl PartialEq for PlaceholderUdf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name() == other.function.name() && self.model == other.model
    }
}

impl Eq for PlaceholderUdf {}

impl Hash for PlaceholderUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
        self.model.hash(state);
    }
}

impl ScalarUDFImpl for PlaceholderUdf {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }

    /// Checks the arguments too: an error from here reaches the person as it is, one from `coerce_types` does not.
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.check(arg_types, None)?;
        Ok(self.result()?.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args
            .arg_fields
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        self.check(
            &types,
            args.arg_fields.first().map(|field| field.name().as_str()),
        )?;
        Ok(Arc::new(self.result()?))
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let model = self.model.as_ref()?.of_config(config);
        let function = Arc::clone(&self.function);
        Some(Self::new(function).of_session(model).into_udf())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!(
            "{} was not planned by picsift's rules; register the functions with picsift_udf::register_all",
            self.function.name()
        )
    }
}
