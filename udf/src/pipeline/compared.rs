//! Answers that follow from an image's embedding: what the model is asked of them, and what is kept, is the embedding alone.
//!
//! For a model that embeds texts as well, a category costs a dot product once an image's embedding is known; for one that embeds at all
//! so does a category that was taught. So images are asked for that whatever these categories are, and the scores are made of it here.
//! Questions of other kinds are asked beside it.

use std::sync::Arc;

use picsift_vision::store::Store;
use picsift_vision::{Comparison, Question, VisionError};
use tokio::sync::OnceCell;

use crate::pipeline::End;
use crate::pipeline::memory_cache::Answers;
use crate::pipeline::models::ModelHandle;
use crate::pipeline::outcome::RowError;

/// Questions of which some are answered from an image's embedding.
#[derive(Debug)]
pub(crate) struct Compared {
    model: ModelHandle,
    store: Option<Store>,
    /// Those that are answered from it.
    questions: Arc<[Question]>,
    /// What the model is asked: the embedding, then what does not follow from it.
    asked: Arc<[Question]>,
    /// For each question where it is among `asked`; `None` for one that is answered from the embedding.
    places: Vec<Option<usize>>,
    /// Made for the first image, for the texts may take the model's text tower.
    comparison: OnceCell<Comparison>,
}

impl Compared {
    /// `None` where the model must be asked these questions themselves.
    pub(crate) fn new(
        model: &ModelHandle,
        store: Option<&Store>,
        questions: &Arc<[Question]>,
    ) -> Option<Self> {
        let texts = model.embeddings()?.texts.is_some();
        let follows = |question: &Question| match question {
            Question::Taught(_) => true,
            Question::Shows(_) => texts,
            _ => false,
        };
        if !questions.iter().any(follows) {
            return None;
        }
        let (mut compared, mut asked) = (Vec::new(), vec![Question::Embedding]);
        let mut places = Vec::with_capacity(questions.len());
        for question in questions.iter() {
            places.push(match question {
                Question::Embedding => Some(0),
                question if follows(question) => {
                    compared.push(question.clone());
                    None
                }
                other => {
                    asked.push(other.clone());
                    Some(asked.len() - 1)
                }
            });
        }
        Some(Self {
            model: model.clone(),
            store: store.cloned(),
            questions: compared.into(),
            asked: asked.into(),
            places,
            comparison: OnceCell::new(),
        })
    }

    /// What the model is asked in the place of the questions.
    pub(crate) fn asked(&self) -> &Arc<[Question]> {
        &self.asked
    }

    /// The answers to the questions, of the model's answers to [`Compared::asked`].
    ///
    /// # Errors
    /// [`End::Lost`] where the texts cannot be embedded. Within, why this image has no answers.
    pub(crate) async fn answers(&self, of: &Answers) -> Result<Result<Answers, RowError>, End> {
        let comparison = self.comparison.get_or_try_init(|| self.compare()).await;
        let comparison = comparison.map_err(End::Lost)?;
        let Some(embedding) = of.first().and_then(|answer| answer.embedding()) else {
            return Ok(Err(RowError::model(
                "refused",
                "the model gave no embedding where it was asked for one",
            )));
        };
        let made = match comparison.answers(embedding) {
            Ok(made) => made,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut made = made.into_iter();
        let answers = self.places.iter().map(|place| match place {
            Some(place) => of.get(*place).cloned(),
            None => made.next(),
        });
        let answers: Option<Answers> = answers.collect();
        Ok(answers.ok_or_else(|| RowError::model("refused", "the model left a question open")))
    }

    async fn compare(&self) -> Result<Comparison, VisionError> {
        let (model, store) = (self.model.clone(), self.store.clone());
        let questions = Arc::clone(&self.questions);
        let compared =
            tokio::task::spawn_blocking(move || model.compare(&questions, store.as_ref()));
        compared.await.unwrap_or_else(|panic| {
            Err(VisionError::Panicked {
                model: self.model.info().name.clone(),
                message: panic.to_string(),
            })
        })
    }
}
