//! Scores that follow from an image's embedding: of texts, whose embeddings are compared with it, and of what was taught.
//!
//! Owns the step from embeddings to scores, for a model whose embeddings of texts are in the space of those of images
//! ([`TextEmbeddings`](crate::TextEmbeddings)), and for [`Head`]s of any model that embeds. It runs wherever an embedding is at
//! hand, fresh from the model or kept, and needs no image.

use std::sync::Arc;

use crate::embedding::{Embedding, dot, unit};
use crate::error::VisionError;
use crate::heads::Head;
use crate::model::{Answer, Prompt, Question, Scale};

/// The score of a cosine.
fn score(scale: Scale, cosine: f32) -> f32 {
    let logit = f64::from(scale.factor * cosine + scale.bias);
    (1.0 / (1.0 + (-logit).exp())) as f32
}

/// Questions of which each is answered from an image's embedding, with the embeddings of their texts.
#[derive(Debug)]
pub struct Comparison {
    model: String,
    /// Of the model's texts; `None` where there are none.
    scale: Option<Scale>,
    width: usize,
    /// One vector of unit length after the other: the descriptions of all questions.
    descriptions: Vec<f32>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
enum Asked {
    /// The embedding itself.
    Embedding,
    /// The score of the best of so many descriptions.
    Shows(usize),
    /// What the head says.
    Taught(Head),
}

impl Comparison {
    /// Whether all of these questions can be answered so.
    pub fn takes(questions: &[Question]) -> bool {
        let taken = |question| {
            let by_text = matches!(question, &Question::Embedding | &Question::Shows(_));
            by_text || matches!(question, &Question::Taught(_))
        };
        questions.iter().all(taken)
    }

    /// The texts whose embeddings are needed, in the order in which [`Comparison::new`] takes them.
    pub fn prompts(questions: &[Question]) -> Vec<&Prompt> {
        questions.iter().flat_map(prompts).collect()
    }

    /// A comparison with `texts`, the embeddings of [`Comparison::prompts`], each of unit length and `width` numbers. The `scale` is
    /// that of the model's texts, which only they need.
    ///
    /// # Errors
    /// [`VisionError::ForeignQuestion`] for a question that is not answered so or has too few embeddings;
    /// [`VisionError::NotFinite`] where the wordings of one description point apart.
    pub fn new(
        model: &str,
        scale: Option<Scale>,
        width: usize,
        questions: &[Question],
        texts: &[Arc<[f32]>],
    ) -> Result<Self, VisionError> {
        let foreign = || VisionError::ForeignQuestion {
            model: model.to_owned(),
        };
        let mut texts = texts.iter();
        let mut descriptions = Vec::new();
        let mut asked = Vec::with_capacity(questions.len());
        for question in questions {
            match question {
                Question::Embedding => asked.push(Asked::Embedding),
                Question::Taught(head) if head.model().width == width => {
                    asked.push(Asked::Taught(head.clone()));
                }
                Question::Shows(_) if scale.is_none() => return Err(foreign()),
                Question::Shows(of) => {
                    for wordings in of.iter() {
                        let own: Vec<&[f32]> = texts
                            .by_ref()
                            .take(wordings.len())
                            .map(|text| &**text)
                            .filter(|text| text.len() == width)
                            .collect();
                        if own.len() < wordings.len() {
                            return Err(foreign());
                        }
                        let mean = mean(&own).ok_or_else(|| VisionError::NotFinite {
                            model: model.to_owned(),
                        })?;
                        descriptions.extend(mean);
                    }
                    asked.push(Asked::Shows(of.len()));
                }
                _ => return Err(foreign()),
            }
        }
        Ok(Self {
            model: model.to_owned(),
            scale,
            width,
            descriptions,
            asked,
        })
    }

    /// The vectors that stand for the texts: a description after the other, each of unit length.
    pub fn descriptions(&self) -> impl Iterator<Item = &[f32]> {
        self.descriptions.chunks_exact(self.width.max(1))
    }

    /// The answers about an image, in the questions' order.
    ///
    /// # Errors
    /// [`VisionError::NotFinite`] for an embedding of another width, or one that gives no finite score.
    pub fn answers(&self, image: &Embedding) -> Result<Vec<Answer>, VisionError> {
        self.answers_of(image, &image.to_unit())
    }

    /// The same, with scores of `unit`: the embedding before it was rounded, or after.
    ///
    /// # Errors
    /// As [`Comparison::answers`].
    pub(crate) fn answers_of(
        &self,
        image: &Embedding,
        unit: &[f32],
    ) -> Result<Vec<Answer>, VisionError> {
        let unfit = || VisionError::NotFinite {
            model: self.model.clone(),
        };
        if image.width() != self.width || unit.len() != self.width {
            return Err(unfit());
        }
        let mut descriptions = self.descriptions.chunks_exact(self.width.max(1));
        let answer = |asked: &Asked| match asked {
            Asked::Embedding => Ok(Answer::Embedding(image.clone())),
            Asked::Shows(count) => {
                let own = descriptions.by_ref().take(*count);
                let best = own.map(|text| dot(unit, text)).fold(f32::NAN, f32::max);
                let score = self.scale.map(|scale| score(scale, best));
                let score = score.filter(|score| score.is_finite());
                score.map(Answer::Score).ok_or_else(unfit)
            }
            Asked::Taught(head) => {
                let probability = head.probability(unit);
                probability.map(Answer::Score).ok_or_else(unfit)
            }
        };
        self.asked.iter().map(answer).collect()
    }
}

fn prompts(question: &Question) -> impl Iterator<Item = &Prompt> {
    let descriptions = match question {
        Question::Shows(descriptions) => Some(descriptions.iter()),
        _ => None,
    };
    let wordings = descriptions.into_iter().flatten();
    wordings.flat_map(|wordings| wordings.iter())
}

/// The mean of vectors, at unit length again; `None` where they point apart.
fn mean(texts: &[&[f32]]) -> Option<Vec<f32>> {
    let width = texts.first()?.len();
    if let [text] = texts {
        return Some(text.to_vec());
    }
    let sum = (0..width).map(|at| texts.iter().map(|text| text[at]).sum());
    unit(sum.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::HeadModel;

    fn prompt(token: u32) -> Prompt {
        Prompt {
            text: "x".into(),
            tokens: [token].into(),
        }
    }

    #[test]
    fn the_best_description_counts_and_the_mean_of_its_wordings() {
        let questions = [
            Question::Shows([[prompt(0)].into(), [prompt(1)].into()].into()),
            Question::Embedding,
            Question::Shows([[prompt(0), prompt(1)].into()].into()),
        ];
        assert!(Comparison::takes(&questions));
        assert_eq!(Comparison::prompts(&questions).len(), 4);
        let (x, y): (Arc<[f32]>, Arc<[f32]>) = ([1.0, 0.0].into(), [0.0, 1.0].into());
        let texts = [&x, &y, &x, &y].map(Arc::clone);
        let scale = Scale {
            factor: 2.0,
            bias: -1.0,
        };
        let comparison = Comparison::new("m", Some(scale), 2, &questions, &texts).unwrap();
        let image = Embedding::new(vec![0.0, 5.0]).unwrap();
        let answers = comparison.answers(&image).unwrap();
        let sigmoid = |x: f64| Answer::Score((1.0 / (1.0 + (-x).exp())) as f32);
        assert_eq!(answers[0], sigmoid(1.0));
        assert_eq!(answers[1], Answer::Embedding(image));
        let Answer::Score(score) = answers[2] else {
            panic!("{answers:?}");
        };
        let expected = 1.0 / (1.0 + (1.0 - 2.0_f64.sqrt()).exp());
        assert!((f64::from(score) - expected).abs() < 1e-6, "{score}");
        let wide = Embedding::new(vec![1.0; 3]).unwrap();
        assert!(comparison.answers(&wide).is_err());
        assert!(!Comparison::takes(&[Question::Classes([1].into())]));
        assert!(Comparison::new("m", Some(scale), 2, &questions, &texts[..3]).is_err());
        assert!(Comparison::new("m", None, 2, &questions, &texts).is_err());
    }

    #[test]
    fn what_was_taught_needs_no_text() {
        let model = HeadModel {
            name: "m".to_owned(),
            revision: "1".to_owned(),
            preprocessing: "full".to_owned(),
            width: 2,
        };
        let head = Head::new("scratch", &model, vec![0.0, 3.0], -1.0).unwrap();
        let questions = [Question::Taught(head.clone()), Question::Embedding];
        assert!(Comparison::takes(&questions));
        let comparison = Comparison::new("m", None, 2, &questions, &[]).unwrap();
        let image = Embedding::new(vec![3.0, 4.0]).unwrap();
        let answers = comparison.answers(&image).unwrap();
        let expected = head.probability(&image.to_unit()).unwrap();
        assert_eq!(answers, [Answer::Score(expected), Answer::Embedding(image)]);
        assert!((expected - 0.8022).abs() < 1e-3, "{expected}");
        assert!(Comparison::new("m", None, 3, &questions, &[]).is_err());
    }
}
