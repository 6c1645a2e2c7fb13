//! Pictures without a table: what is asked of each, and what came of it.

use std::sync::Arc;

use picsift_udf::{
    Engine, EngineError, ImageKey, ImagePipeline, ImageSource, Labelling, ModelHandle, QuestionSet,
    RowError, RunStats, labels,
};
use picsift_vision::{Answer, Question};
use serde::Serialize;
use serde_json::{Map, Value};

/// Asks the same of one picture after another, from any number of tasks at once.
#[derive(Debug)]
pub struct ImageLabeler {
    pipeline: ImagePipeline,
    questions: QuestionSet,
    labelling: Option<Labelling>,
    /// Whether a question is answered in words.
    in_words: bool,
    engine: Arc<Engine>,
}

/// Members of an object that categories have.
const OF_CATEGORIES: [&str; 3] = ["answers", "scores", "labels"];

/// The member that a question in words has.
const OF_QUESTION: &str = "text";

/// What was found out about one picture; the parts that were not asked for are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ImageLabels {
    /// Of each category whether it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Map<String, Value>>,
    /// Of each category its score, 0 to 1, with six digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<Map<String, Value>>,
    /// All categories that hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The best of them; `None` where none holds.
    pub label: Option<String>,
    /// The answer in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl ImageLabeler {
    /// Asks `model` for these categories, and a question that is answered in words.
    pub fn new(
        engine: &Arc<Engine>,
        model: ModelHandle,
        labelling: Option<Labelling>,
        open: Option<Question>,
    ) -> Self {
        Self::counted(engine, model, labelling, open, Arc::default())
    }

    /// The same, which counts what it does in `stats`.
    pub fn counted(
        engine: &Arc<Engine>,
        model: ModelHandle,
        labelling: Option<Labelling>,
        open: Option<Question>,
        stats: Arc<RunStats>,
    ) -> Self {
        let in_words = open.is_some();
        let categories = labelling.iter().flat_map(|l| l.questions().to_vec());
        let questions: Vec<Question> = categories.chain(open).collect();
        let pipeline = ImagePipeline::new(Arc::clone(engine), Some(model), stats);
        Self {
            questions: pipeline.questions(questions.into()),
            pipeline,
            labelling,
            in_words,
            engine: Arc::clone(engine),
        }
    }

    /// What is said of one picture: its name, what was found out about it, and why nothing was. All objects of one labeler have the same
    /// members; of a picture that failed they are NULL.
    ///
    /// # Errors
    /// None that a label gives rise to.
    pub fn object(
        &self,
        file: &str,
        labels: &ImageLabels,
        error: Option<String>,
    ) -> serde_json::Result<Value> {
        let asked = OF_CATEGORIES.iter().filter(|_| self.labelling.is_some());
        let asked = asked.chain(self.in_words.then_some(&OF_QUESTION));
        let mut object = Map::new();
        object.insert("file".to_owned(), file.into());
        for member in asked {
            object.insert((*member).to_owned(), Value::Null);
        }
        object.insert("label".to_owned(), Value::Null);
        if let Value::Object(found) = serde_json::to_value(labels)? {
            object.extend(found);
        }
        object.insert("error".to_owned(), error.into());
        Ok(object.into())
    }

    /// How many pictures should be under way at once.
    pub fn in_flight(&self) -> usize {
        self.pipeline.in_flight()
    }

    /// Asks about a picture that a person named. A reference is read once: asked again, its answer is the same.
    ///
    /// # Errors
    /// Why no picture gets an answer. Within, why this one has none.
    pub async fn label(
        &self,
        image: ImageSource,
    ) -> Result<Result<ImageLabels, RowError>, EngineError> {
        self.label_called(&[], image).await
    }

    /// The same of a picture that corrections may know by one of these names, or by the digest of its bytes.
    ///
    /// # Errors
    /// As [`ImageLabeler::label`].
    pub async fn label_called(
        &self,
        names: &[&str],
        image: ImageSource,
    ) -> Result<Result<ImageLabels, RowError>, EngineError> {
        let said = self.said(names, &image).await;
        let outcome = self.pipeline.answer(image, &self.questions).await?;
        Ok(outcome.map(|answers| self.labels(&answers, said)))
    }

    /// What a person said of each category; empty where nobody said anything.
    async fn said(&self, names: &[&str], image: &ImageSource) -> Vec<Option<bool>> {
        let corrections = self.engine.options().corrections.as_ref();
        let Some((corrections, labelling)) = corrections.zip(self.labelling.as_ref()) else {
            return Vec::new();
        };
        let by_name = names
            .iter()
            .map(|name| corrections.said(name, labelling.names()));
        if let Some(said) = by_name.into_iter().find(|said| !said.is_empty()) {
            return said;
        }
        if !corrections.has_digests() {
            return Vec::new();
        }
        // A pool that has stopped is the error of the picture already.
        let key = ImageKey::in_pool(None, Some(image), self.engine.pool()).await;
        let key = key.ok().flatten();
        key.map(|key| corrections.said(key.as_str(), labelling.names()))
            .unwrap_or_default()
    }

    fn labels(&self, answers: &[Answer], said: Vec<Option<bool>>) -> ImageLabels {
        let mut found = ImageLabels {
            text: answers.iter().find_map(Answer::text).map(str::to_string),
            ..ImageLabels::default()
        };
        if let Some(labelling) = &self.labelling {
            let scores: Vec<f32> = answers.iter().filter_map(Answer::score).collect();
            let (held, best) = labelling.judged(&scores, said);
            let names = labelling.names();
            found.answers = Some(object(names, held.iter().map(|held| Value::from(*held))));
            found.scores = Some(object(names, scores.iter().map(|score| rounded(*score))));
            found.label = best.map(str::to_string);
            let held = labels(names, &held).into_iter().map(str::to_string);
            found.labels = Some(held.collect());
        }
        found
    }
}

fn object(names: &[String], values: impl Iterator<Item = Value>) -> Map<String, Value> {
    names.iter().cloned().zip(values).collect()
}

/// A score with the digits that mean something.
fn rounded(score: f32) -> Value {
    Value::from((f64::from(score) * 1e6).round() / 1e6)
}
