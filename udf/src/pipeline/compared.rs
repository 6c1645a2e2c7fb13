//! Answers that follow from an image's embedding: what the model is asked, and what is kept, is the embedding alone.
//!
//! For a model that embeds texts as well, a category costs a dot product once an image's embedding is known. So images are asked for
//! that whatever the categories are, and the scores are made of it here.

use std::sync::Arc;

use picsift_vision::store::Store;
use picsift_vision::{Comparison, Question, VisionError};
use tokio::sync::OnceCell;

use crate::pipeline::End;
use crate::pipeline::memory_cache::Answers;
use crate::pipeline::models::ModelHandle;
use crate::pipeline::outcome::RowError;

/// Questions that are answered from an image's embedding.
#[derive(Debug)]
pub(crate) struct Compared {
    model: ModelHandle,
    store: Option<Store>,
    questions: Arc<[Question]>,
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
        model.embeddings()?.texts?;
        if questions.is_empty() || !Comparison::takes(questions) {
            return None;
        }
        Some(Self {
            model: model.clone(),
            store: store.cloned(),
            questions: Arc::clone(questions),
            comparison: OnceCell::new(),
        })
    }

    /// The answers to the questions, of the model's answer: the embedding.
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
        let answers = comparison.answers(embedding);
        Ok(answers.map(Answers::from).map_err(RowError::from))
    }

    async fn compare(&self) -> Result<Comparison, VisionError> {
        let (model, store) = (self.model.clone(), self.store.clone());
        let questions = Arc::clone(&self.questions);
        let compared = tokio::task::spawn_blocking(move || {
            let prompts = Comparison::prompts(&questions);
            let texts = model.embed_prompts(&prompts, store.as_ref())?;
            let width = model.embeddings().map_or(0, |embeddings| embeddings.width);
            Comparison::new(
                &model.info().name,
                model.scale()?,
                width,
                &questions,
                &texts,
            )
        });
        compared.await.unwrap_or_else(|panic| {
            Err(VisionError::Panicked {
                model: self.model.info().name.clone(),
                message: panic.to_string(),
            })
        })
    }
}
