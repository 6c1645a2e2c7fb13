//! A call with its questions checked: what the planner moves around and the operator asks.
//!
//! A [`CallSpec`] is plain data, enough to make the call again in another process; a [`Call`] has the model behind it, which runs
//! only when an image is asked about. A
//! [`ResolvedFunction`] is the call as a SQL function, which stands in a plan until [`crate::plan::extract`] finds it, and cannot run.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, internal_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use picsift_vision::{CategorySpec, Generation, Question};

use crate::functions::labelling::Labelling;
use crate::functions::placeholder::{ImageFunction, result_field};
use crate::pipeline::base::Base;
use crate::pipeline::cascade::{Band, Cascade};
use crate::pipeline::corrections::Corrections;
use crate::pipeline::engine::Engine;
use crate::pipeline::models::{ModelHandle, ModelSpec};
use crate::settings::OnError;

/// What a call asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CallKind {
    /// The file, not what it shows.
    File,
    /// Whether categories hold, from a threshold on that is for those without their own.
    Categories(ModelSpec, Vec<CategorySpec>, Option<f32>),
    /// A question to answer in words.
    Question(ModelSpec, String, Generation),
    /// The image as a vector.
    Embedding(ModelSpec),
}

/// A call without its function and what runs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallSpec {
    pub(crate) kind: CallKind,
    /// Where relative references belong.
    pub(crate) base: Base,
    pub(crate) on_error: OnError,
    /// The cheap model that answers about categories where it may.
    pub(crate) cascade: Option<Arc<Cascade>>,
}

/// The question that a cheap model is asked in the place of another, and what its score decides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cut {
    pub(crate) category: Arc<str>,
    pub(crate) question: Question,
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Score of the dear model from which the category holds.
    pub(crate) threshold: f32,
}

/// The cheap model of a call, with what it is asked in the place of each of the call's questions; `None` where it decides nothing.
#[derive(Debug)]
pub(crate) struct CheapModel {
    pub(crate) model: ModelHandle,
    pub(crate) cuts: Vec<Option<Cut>>,
}

/// The questions of a call, as the model takes them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CompiledQuestions {
    Nothing,
    Labelling(Labelling),
    One(Question),
}

/// A call whose questions the model has taken.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) spec: CallSpec,
    pub(crate) function: Arc<dyn ImageFunction>,
    pub(crate) model: Option<ModelHandle>,
    pub(crate) compiled: CompiledQuestions,
    pub(crate) cheap: Option<CheapModel>,
    /// What people said, which wins.
    pub(crate) corrections: Option<Arc<Corrections>>,
    /// Of the spec: plans with thousands of calls compare each with the others.
    digest: u64,
}

impl Call {
    /// Checks the call with its model, which is described if need be and not started.
    ///
    /// # Errors
    /// A planning error for a model that cannot be had, or a question that it does not take.
    pub(crate) fn resolve(
        engine: &Engine,
        mut function: Arc<dyn ImageFunction>,
        spec: CallSpec,
    ) -> Result<Self> {
        let name = function.name();
        let described = |model: &ModelSpec| {
            engine
                .model(&model.name, &model.load)
                .map_err(|e| DataFusionError::External(Box::new(e)))
        };
        let (model, compiled) = match &spec.kind {
            CallKind::File => (None, CompiledQuestions::Nothing),
            CallKind::Categories(model, categories, threshold) => {
                let model = described(model)?;
                let labelling = Labelling::new(&model, categories, *threshold)?;
                (Some(model), CompiledQuestions::Labelling(labelling))
            }
            CallKind::Question(model, text, generation) => {
                let model = described(model)?;
                let question = model
                    .open(text, *generation)
                    .map_err(|e| plan_datafusion_err!("{name}: {e}"))?;
                (Some(model), CompiledQuestions::One(question))
            }
            CallKind::Embedding(model) => {
                let model = described(model)?;
                let of_model = function.of_model(&model)?;
                let Some(of_model) = of_model else {
                    return plan_err!("{name} gives no embedding");
                };
                function = of_model;
                (Some(model), CompiledQuestions::One(Question::Embedding))
            }
        };
        let mut cheap = None;
        if let CompiledQuestions::Labelling(labelling) = &compiled {
            if let Some(made) = function.of_categories(labelling.names()) {
                function = made;
            }
            if let Some(cascade) = &spec.cascade {
                cheap = Some(CheapModel::resolve(engine, cascade, labelling)?);
            }
        }
        // Thresholds are floats, which have no hash of their own.
        let mut digest = DefaultHasher::new();
        format!("{name} {spec:?}").hash(&mut digest);
        Ok(Self {
            digest: digest.finish(),
            spec,
            function,
            model,
            compiled,
            cheap,
            corrections: engine.corrections().cloned(),
        })
    }

    /// What the model is asked, in the order in which the function wants the answers.
    pub(crate) fn questions(&self) -> &[Question] {
        match &self.compiled {
            CompiledQuestions::Nothing => &[],
            CompiledQuestions::Labelling(labelling) => labelling.questions(),
            CompiledQuestions::One(question) => std::slice::from_ref(question),
        }
    }

    /// A column of the answers.
    pub(crate) fn field(&self, name: &str) -> Field {
        result_field(&*self.function, name)
    }

    /// Which model, for a call that asks one.
    pub(crate) fn model_spec(&self) -> Option<&ModelSpec> {
        match &self.spec.kind {
            CallKind::File => None,
            CallKind::Categories(model, ..)
            | CallKind::Question(model, ..)
            | CallKind::Embedding(model) => Some(model),
        }
    }

    /// The call as an expression over an image; `shown` are the arguments after it, as the person wrote them.
    pub(crate) fn over(self: Arc<Self>, image: Expr, shown: &[Expr]) -> Expr {
        let mut args = vec![image];
        args.extend_from_slice(shown);
        self.into_udf().call(args)
    }

    /// The call as a function.
    pub(crate) fn into_udf(self: Arc<Self>) -> ScalarUDF {
        ScalarUDF::new_from_impl(ResolvedFunction {
            call: self,
            signature: Signature::variadic_any(Volatility::Volatile),
        })
    }
}

impl CheapModel {
    /// # Errors
    /// A planning error for a model that cannot be had, or that does not know a category.
    fn resolve(engine: &Engine, cascade: &Cascade, labelling: &Labelling) -> Result<Self> {
        let model = engine
            .model(&cascade.model, &cascade.load)
            .map_err(|e| plan_datafusion_err!("{e}"))?;
        let categories = labelling.names().iter().zip(labelling.thresholds());
        let cut = |(name, threshold): (&String, &f32)| {
            let mut bands = cascade.bands.iter();
            let band = bands.find(|band| band.category.category.name == *name);
            // Scores lie within 0 to 1.
            let decides = |band: &&Band| band.low > 0.0 || band.high <= 1.0;
            let Some(band) = band.filter(decides) else {
                return Ok(None);
            };
            let question = model
                .category(&band.category.category)
                .map_err(|e| plan_datafusion_err!("{e}"))?;
            Ok(Some(Cut {
                category: name.as_str().into(),
                question,
                low: band.low,
                high: band.high,
                threshold: *threshold,
            }))
        };
        let cuts = categories.map(cut).collect::<Result<_>>()?;
        Ok(Self { model, cuts })
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        let named = self.function.name() == other.function.name();
        named && self.digest == other.digest && self.spec == other.spec
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// As people read it in EXPLAIN: the function and what it asks.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        match &self.spec.kind {
            CallKind::File | CallKind::Embedding(_) => {}
            CallKind::Categories(_, categories, _) => {
                for (index, spec) in categories.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}'{}'", spec.category.name)?;
                }
            }
            CallKind::Question(_, text, _) => write!(f, "'{text}'")?,
        }
        f.write_str(")")
    }
}

/// A call as a SQL function; see the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ResolvedFunction {
    pub(crate) call: Arc<Call>,
    signature: Signature,
}

impl ScalarUDFImpl for ResolvedFunction {
    fn name(&self) -> &str {
        self.call.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.call.function.return_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.call.field(self.name())))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!(
            "{} cannot be asked where it stands in this query; ask it in a subquery",
            self.call.function.name()
        )
    }
}
