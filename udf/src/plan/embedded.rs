//! What is learnt from: a table's images as vectors, and what the model says of categories by itself.
//!
//! A projection of calls like any query's; what becomes of them is [`crate::plan::extract`]'s business.

use std::sync::Arc;

use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use picsift_vision::{CategorySpec, LoadOptions};
use url::Url;

use crate::functions::classify_score::ClassifyScore;
use crate::functions::embed::Embed;
use crate::functions::placeholder::ImageFunction;
use crate::pipeline::base::Base;
use crate::pipeline::checked::checked;
use crate::pipeline::engine::Engine;
use crate::pipeline::image_column::{IMAGE_TYPES, is_image_type};
use crate::pipeline::models::ModelSpec;
use crate::plan::call::{Call, CallKind, CallSpec};
use crate::settings::OnError;

/// What is asked of a table's images so that something can be learnt from them.
#[derive(Debug, Clone)]
pub struct Lessons {
    /// Name of the column that holds the images.
    pub image: String,
    /// Folder that relative references belong to; without one they are an error.
    pub base: Option<Url>,
    /// Column of the digests that the images must have, as [`is_digest_type`](crate::is_digest_type) says.
    pub digest: Option<String>,
    /// The model that is asked.
    pub model: String,
    /// How it is loaded.
    pub load: LoadOptions,
    /// Name of the column of embeddings, `FIXED_SIZE_LIST<FLOAT>`; `None` for none.
    pub embedding: Option<String>,
    /// Categories that the model is asked for as it knows them, each with the name of its column of scores, FLOAT.
    pub categories: Vec<(CategorySpec, String)>,
}

/// `input` with embeddings and scores after its own columns, NULL for an image that cannot be read or judged; rows keep their order.
/// For a session that has picsift's functions.
///
/// # Errors
/// A planning error for an image column that is missing or of another type, and for what the model does not take.
pub fn lessons(engine: &Engine, input: LogicalPlan, asked: &Lessons) -> Result<LogicalPlan> {
    let named = input
        .schema()
        .iter()
        .find(|(_, field)| *field.name() == asked.image);
    let Some((qualifier, field)) = named else {
        return plan_err!("the table has no column '{}'", asked.image);
    };
    if !is_image_type(field.data_type()) {
        return plan_err!(
            "column '{}' is {}; images are {IMAGE_TYPES}",
            asked.image,
            field.data_type()
        );
    }
    let image = Expr::Column(Column::from((qualifier, field)));
    let base = Base::of(asked.base.clone(), &asked.image);
    let (image, base) = match &asked.digest {
        None => (image, base),
        Some(digest) => {
            let digest = Expr::Column(Column::new_unqualified(digest.clone()));
            (checked(image, digest), Base::Checked(Box::new(base)))
        }
    };
    let model = || ModelSpec {
        name: asked.model.clone(),
        load: asked.load,
    };
    let column = |function: Arc<dyn ImageFunction>, kind: CallKind, name: &str| -> Result<Expr> {
        let spec = CallSpec {
            kind,
            base: base.clone(),
            on_error: OnError::Null,
            cascade: None,
        };
        let call = Arc::new(Call::resolve(engine, function, spec)?);
        Ok(call.over(image.clone(), &[]).alias(name))
    };
    let mut all: Vec<Expr> = input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    if let Some(name) = &asked.embedding {
        let kind = CallKind::Embedding(model());
        all.push(column(Arc::new(Embed::default()), kind, name)?);
    }
    for (category, name) in &asked.categories {
        let kind = CallKind::Categories(model(), vec![category.clone()], None);
        all.push(column(Arc::new(ClassifyScore), kind, name)?);
    }
    LogicalPlanBuilder::from(input).project(all)?.build()
}
