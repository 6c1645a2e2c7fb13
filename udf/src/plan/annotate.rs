//! The columns that a labelling adds to a table: their names, types and NULL rules, and the plan that has them.
//!
//! A labelling is a projection of calls like any query's; what becomes of them is [`crate::plan::extract`]'s business.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use picsift_vision::{CategorySpec, LoadOptions};
use url::Url;

use crate::functions::answered_by::{AnsweredBy, answered_by_type};
use crate::functions::classify::Classify;
use crate::functions::classify_json::ClassifyJson;
use crate::functions::classify_label::ClassifyLabel;
use crate::functions::classify_labels::ClassifyLabels;
use crate::functions::classify_score::ClassifyScore;
use crate::functions::columns;
use crate::functions::embed::Embed;
use crate::functions::failure::{Failure, failure_type};
use crate::functions::label_source::LabelSource;
use crate::functions::load_image::LoadImage;
use crate::functions::placeholder::{ImageFunction, result_field};
use crate::pipeline::base::Base;
use crate::pipeline::cascade::Cascade;
use crate::pipeline::checked::checked;
use crate::pipeline::engine::Engine;
use crate::pipeline::image_column::{IMAGE_TYPES, is_image_type};
use crate::pipeline::models::{ModelHandle, ModelSpec};
use crate::plan::call::{Call, CallKind, CallSpec};
use crate::settings::OnError;

/// Put before the name of an added column where the table has a column of that name already.
pub const CLASH_PREFIX: &str = "picsift_";

/// Names of the columns that a labelling adds, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedColumns {
    /// BOOLEAN per category: whether it holds.
    pub is: Vec<String>,
    /// FLOAT per category: its score, 0 to 1.
    pub score: Vec<String>,
    /// `LIST<UTF8>`: all categories that hold.
    pub labels: String,
    /// UTF8: the best category that holds, or NULL.
    pub label: String,
    /// UTF8: who decided, `model` or `person`; only where people were asked too.
    pub source: Option<String>,
    /// UTF8: JSON object of category to boolean.
    pub answers: String,
    /// STRUCT of UTF8 with a part for each category: who answered, `cheap`, `dear` or `person`; only where that is asked for.
    pub answered_by: Option<Field>,
    /// `FIXED_SIZE_LIST<FLOAT>`: the image as a vector of unit length; only where that is asked for.
    pub embedding: Option<Field>,
    /// `STRUCT<stage, kind, message, reference>` of UTF8: why an image failed, NULL when all is well.
    pub error: String,
}

impl AddedColumns {
    /// Names for categories whose own column names are `names`, beside the columns of `input`.
    ///
    /// With `corrected` there is a column that says who decided, with `embedded` one of this model's embeddings. Where the table has a column of that name, ours gets [`CLASH_PREFIX`].
    /// Names that differ by case alone are one name: DuckDB, Spark and others read the wrong one of two.
    ///
    /// # Errors
    /// A planning error when two added columns would have one name, or the table has the prefixed name as well; where the model
    /// embeds no images.
    pub fn new(
        names: &[String],
        input: &Schema,
        corrected: bool,
        embedded: Option<&ModelHandle>,
    ) -> Result<Self> {
        let mut used: HashSet<String> = HashSet::new();
        let mut free = |name: String| -> Result<String> {
            let taken = |name: &str| {
                let mut fields = input.fields().iter();
                fields.any(|field| field.name().to_lowercase() == name.to_lowercase())
            };
            let chosen = if taken(&name) {
                format!("{CLASH_PREFIX}{name}")
            } else {
                name
            };
            if taken(&chosen) {
                return plan_err!(
                    "the table has columns '{}' and '{chosen}' already; drop or rename one of them",
                    &chosen[CLASH_PREFIX.len()..]
                );
            }
            if !used.insert(chosen.to_lowercase()) {
                return plan_err!(
                    "two categories would both be written to column '{chosen}', in large letters or small; give one another \
                     column name in the categories file"
                );
            }
            Ok(chosen)
        };
        Ok(Self {
            is: names
                .iter()
                .map(|n| free(format!("is_{n}")))
                .collect::<Result<_>>()?,
            score: names
                .iter()
                .map(|n| free(format!("score_{n}")))
                .collect::<Result<_>>()?,
            labels: free("labels".to_string())?,
            label: free("label".to_string())?,
            source: corrected
                .then(|| free("label_source".to_string()))
                .transpose()?,
            answers: free("answers".to_string())?,
            answered_by: None,
            embedding: match embedded {
                None => None,
                Some(model) => {
                    let name = free("embedding".to_string())?;
                    let embed = Embed::default().of_model(model)?;
                    embed.map(|embed| result_field(&*embed, &name))
                }
            },
            error: free("picsift_error".to_string())?,
        })
    }

    /// The same with a column that says who answered about each of the categories, beside the columns of `input`.
    ///
    /// # Errors
    /// As [`AddedColumns::new`].
    pub fn with_answered_by(mut self, categories: &[String], input: &Schema) -> Result<Self> {
        let has = |name: &str| {
            let same = |field: &Field| field.name().to_lowercase() == name.to_lowercase();
            input.fields().iter().any(|field| same(field)) || self.fields().iter().any(same)
        };
        let own = "answered_by";
        let name = match has(own) {
            true => format!("{CLASH_PREFIX}{own}"),
            false => own.to_string(),
        };
        if has(&name) {
            return plan_err!(
                "there are columns '{own}' and '{name}' already; drop or rename one of them"
            );
        }
        self.answered_by = Some(Field::new(name, answered_by_type(categories), true));
        Ok(self)
    }

    /// The fields, all nullable: `is_` and `score_` of each category in turn, then the row's own.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        for (is, score) in self.is.iter().zip(&self.score) {
            fields.push(Field::new(is, DataType::Boolean, true));
            fields.push(Field::new(score, DataType::Float32, true));
        }
        fields.push(Field::new(&self.labels, columns::text_list_type(), true));
        let texts = [Some(&self.label), self.source.as_ref(), Some(&self.answers)];
        for name in texts.into_iter().flatten() {
            fields.push(Field::new(name, DataType::Utf8, true));
        }
        fields.extend(self.answered_by.clone());
        fields.extend(self.embedding.clone());
        fields.push(Field::new(&self.error, failure_type(), true));
        fields
    }
}

/// What is asked of a table's images and how the answers are called.
#[derive(Debug, Clone)]
pub struct Annotation {
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
    /// The categories, in the order of [`AddedColumns::is`].
    pub categories: Vec<CategorySpec>,
    /// The threshold of categories that have none.
    pub threshold: Option<f32>,
    /// Names of the added columns.
    pub added: AddedColumns,
    /// Name of a column after them with the bytes of each image, BINARY; `None` gives none.
    pub bytes: Option<String>,
    /// What a failed image does.
    pub on_error: OnError,
    /// The cheap model that answers where it may.
    pub cascade: Option<Arc<Cascade>>,
}

/// `input` with the answers' columns after its own; rows keep their order. For a session that has picsift's functions.
///
/// # Errors
/// A planning error for an image column that is missing or of another type, and for what the model does not take.
pub fn annotate(
    engine: &Engine,
    input: LogicalPlan,
    annotation: &Annotation,
) -> Result<LogicalPlan> {
    let named = input
        .schema()
        .iter()
        .find(|(_, field)| *field.name() == annotation.image);
    let Some((qualifier, field)) = named else {
        return plan_err!("the table has no column '{}'", annotation.image);
    };
    if !is_image_type(field.data_type()) {
        return plan_err!(
            "column '{}' is {}; images are {IMAGE_TYPES}",
            annotation.image,
            field.data_type()
        );
    }
    let image = Expr::Column(Column::from((qualifier, field)));
    let base = Base::of(annotation.base.clone(), &annotation.image);
    let (image, base) = match &annotation.digest {
        None => (image, base),
        Some(digest) => {
            let digest = Expr::Column(Column::new_unqualified(digest.clone()));
            (checked(image, digest), Base::Checked(Box::new(base)))
        }
    };
    let model = || ModelSpec {
        name: annotation.model.clone(),
        load: annotation.load,
    };
    let column = |function: Arc<dyn ImageFunction>, kind: CallKind, name: &str| -> Result<Expr> {
        let spec = CallSpec {
            kind,
            base: base.clone(),
            on_error: annotation.on_error,
            cascade: annotation.cascade.clone(),
        };
        let call = Arc::new(Call::resolve(engine, function, spec)?);
        Ok(call.over(image.clone(), &[]).alias(name))
    };
    let call = |function: Arc<dyn ImageFunction>, categories: &[CategorySpec], name: &str| {
        let kind = CallKind::Categories(model(), categories.to_vec(), annotation.threshold);
        column(function, kind, name)
    };
    let AddedColumns {
        is,
        score,
        labels,
        label,
        source,
        answers,
        answered_by,
        embedding,
        error,
    } = &annotation.added;
    let mut columns: Vec<Expr> = input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    for (category, (is, score)) in annotation.categories.iter().zip(is.iter().zip(score)) {
        let category = std::slice::from_ref(category);
        columns.push(call(Arc::new(Classify), category, is)?);
        columns.push(call(Arc::new(ClassifyScore), category, score)?);
    }
    let all = &annotation.categories;
    columns.push(call(Arc::new(ClassifyLabels), all, labels)?);
    columns.push(call(Arc::new(ClassifyLabel), all, label)?);
    if let Some(source) = source {
        columns.push(call(Arc::new(LabelSource), all, source)?);
    }
    columns.push(call(Arc::new(ClassifyJson), all, answers)?);
    if let Some(answered_by) = answered_by {
        let function = Arc::new(AnsweredBy::default());
        columns.push(call(function, all, answered_by.name())?);
    }
    if let Some(embedding) = embedding {
        columns.push(column(
            Arc::new(Embed::default()),
            CallKind::Embedding(model()),
            embedding.name(),
        )?);
    }
    columns.push(call(Arc::new(Failure), all, error)?);
    if let Some(bytes) = &annotation.bytes {
        columns.push(column(Arc::new(LoadImage), CallKind::File, bytes)?);
    }
    LogicalPlanBuilder::from(input).project(columns)?.build()
}

/// The input's fields and metadata with the added fields after them.
pub fn output_schema(input: &SchemaRef, added: &AddedColumns) -> SchemaRef {
    let mut fields: Vec<_> = input.fields().iter().cloned().collect();
    fields.extend(added.fields().into_iter().map(Arc::new));
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(
            names
                .iter()
                .map(|name| Field::new(*name, DataType::Utf8, true))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_name_the_table_has_is_prefixed() {
        let added = AddedColumns::new(
            &["fish".to_string()],
            &schema(&["image", "label"]),
            false,
            None,
        )
        .unwrap();
        assert_eq!(added.label, "picsift_label");
        assert_eq!(
            (added.is[0].as_str(), added.labels.as_str()),
            ("is_fish", "labels")
        );
    }

    #[test]
    fn names_that_differ_by_case_alone_are_one() {
        let table = schema(&["Label", "IS_FISH", "Été"]);
        let added = AddedColumns::new(&["fish".to_string()], &table, false, None).unwrap();
        assert_eq!(
            (added.label.as_str(), added.is[0].as_str()),
            ("picsift_label", "picsift_is_fish")
        );
        let twice = ["Fish".to_string(), "fish".to_string()];
        assert!(AddedColumns::new(&twice, &schema(&[]), false, None).is_err());
    }

    #[test]
    fn a_name_taken_twice_over_is_refused() {
        let table = schema(&["label", "picsift_label"]);
        let message = AddedColumns::new(&["fish".to_string()], &table, false, None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("'label' and 'picsift_label'"), "{message}");
        let twice = ["fish".to_string(), "fish".to_string()];
        let message = AddedColumns::new(&twice, &schema(&[]), false, None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("is_fish"), "{message}");
    }
}
