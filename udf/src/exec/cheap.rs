//! The cheap model of a stage: it is asked before the dear one, which then is asked about what is left open and a few images more.
//!
//! Owns the way of a row through both models and how their answers are put together. From which scores on the cheap one decides is the
//! call's to say ([`Cut`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::Result;
use picsift_vision::Answer;

use super::stage::{ColumnMask, Found, Looked, Masks, Stage};
use crate::pipeline::base::Placed;
use crate::pipeline::budget::Budget;
use crate::pipeline::carried::Carried;
use crate::pipeline::cascade::{Verdict, is_audited, rescaled, verdict};
use crate::pipeline::memory_cache::Answers;
use crate::pipeline::outcome::RowError;
use crate::pipeline::{ImageOutputs, ImagePipeline, RequestedOutputs};
use crate::plan::call::Cut;

/// Sets of open questions that are remembered.
const MOST_SETS: usize = 256;

/// Open questions of a stage, and whether bytes and header are wanted.
type OpenQuestions = (Vec<bool>, [bool; 2]);

/// A cheap model while its stage runs in one stream.
pub(crate) struct Cheap {
    pub(super) pipeline: ImagePipeline,
    /// Memory of what was fetched for it and is left for the dear model.
    carried: Arc<Budget>,
    /// For each question of the stage what the cheap model is asked in its place; `None` where it decides nothing.
    cuts: Vec<Option<Cut>>,
    audit: f64,
    /// The masks of what was left open.
    open: Mutex<HashMap<OpenQuestions, Arc<ColumnMask>>>,
}

/// What the cheap model says of one question.
#[derive(Clone, Copy)]
struct Said {
    score: f32,
    verdict: Verdict,
    /// Its score on the dear model's scale, where it decides.
    scaled: Option<f32>,
}

/// What the cheap model says of one row.
enum Decision {
    /// The image cannot be read: the dear model could not say more.
    Unreadable(RowError),
    /// For each question of the stage; whether the dear model is asked about what is decided too.
    Said(Vec<Option<Said>>, bool),
}

impl Cheap {
    pub(super) fn new(
        pipeline: ImagePipeline,
        carried: Arc<Budget>,
        cuts: Vec<Option<Cut>>,
        audit: f64,
    ) -> Self {
        Self {
            pipeline,
            carried,
            cuts,
            audit,
            open: Mutex::default(),
        }
    }

    /// What is asked in the place of the questions that have a place; `None` where nothing is.
    pub(super) fn mask(&self, places: &[Option<usize>]) -> Option<Arc<ColumnMask>> {
        let mut asked = Vec::new();
        let each = places.iter().zip(&self.cuts).map(|(place, cut)| {
            let question = &cut.as_ref().filter(|_| place.is_some())?.question;
            let known = asked.iter().position(|other| other == question);
            Some(known.unwrap_or_else(|| {
                asked.push(question.clone());
                asked.len() - 1
            }))
        });
        let places: Vec<Option<usize>> = each.collect();
        if asked.is_empty() {
            return None;
        }
        Some(Arc::new(ColumnMask {
            requested: RequestedOutputs {
                answers: Some(self.pipeline.questions(asked.into())),
                ..RequestedOutputs::default()
            },
            places,
            cheap: None,
        }))
    }

    fn decide(&self, asked: &ColumnMask, outputs: ImageOutputs, image: &Placed) -> Decision {
        let answers = match outputs.answers {
            Some(Ok(answers)) => answers,
            Some(Err(error)) if error.stage != "model" => return Decision::Unreadable(error),
            // What this model makes nothing of the other may understand.
            _ => return Decision::Said(vec![None; self.cuts.len()], false),
        };
        let each = self.cuts.iter().zip(&asked.places).map(|(cut, place)| {
            let (cut, place) = (cut.as_ref()?, (*place)?);
            let score = answers.get(place)?.score()?;
            Some(Said {
                score,
                verdict: verdict(score, cut.low, cut.high),
                scaled: rescaled(score, cut.low, cut.high, cut.threshold),
            })
        });
        let said: Vec<Option<Said>> = each.collect();
        let decides = said.iter().flatten().any(|said| said.scaled.is_some());
        Decision::Said(said, decides && is_audited(&image.image, self.audit))
    }

    /// Counts what became of a row: `dear` are the answers of those questions that the dear model was asked.
    fn note(&self, said: &[Option<Said>], audited: bool, dear: impl Fn(usize) -> Option<f32>) {
        let stats = self.pipeline.stats().cascade();
        let mut unsure = false;
        for (question, (said, cut)) in said.iter().zip(&self.cuts).enumerate() {
            let (Some(said), Some(cut)) = (said, cut) else {
                continue;
            };
            let verdict = match said.scaled {
                Some(_) => said.verdict,
                None => Verdict::Unsure,
            };
            unsure |= verdict == Verdict::Unsure;
            let holds = dear(question).map(|score| score >= cut.threshold);
            stats.note(&cut.category, said.score, verdict, holds);
        }
        stats.note_row(unsure, audited);
    }
}

impl Stage {
    /// What both models find out about the images.
    pub(super) async fn cascaded(
        &self,
        cheap: &Cheap,
        images: Vec<Option<Placed>>,
        masks: Masks,
    ) -> Result<Found> {
        let first = masks.iter().map(|mask| mask.as_ref()?.cheap.clone());
        let first: Masks = first.collect();
        let carried: Vec<Carried> = images
            .iter()
            .map(|_| Carried::within(&cheap.carried))
            .collect();
        let said = self.look(&cheap.pipeline, images.clone(), first, &carried);
        let said = said.await?;
        let decided = said.rows.into_iter().zip(&images);
        let decided: Vec<Option<Decision>> = decided
            .map(|(looked, image)| {
                let (looked, image) = (looked?, image.as_ref()?);
                Some(cheap.decide(&looked.mask, looked.outputs, image))
            })
            .collect();
        let open: Masks = masks
            .iter()
            .zip(&decided)
            .map(|(mask, decided)| self.open(cheap, mask.as_ref()?, decided.as_ref()))
            .collect();
        for (carried, open) in carried.iter().zip(&open) {
            if open.is_none() {
                carried.take();
            }
        }
        let dear = self.look(&self.pipeline, images, open.clone(), &carried);
        let dear = dear.await?;
        let end = dear.exhausted.map_or(usize::MAX, |(row, _)| row);
        let rows = dear.rows.into_iter().zip(masks).zip(decided).zip(open);
        let rows = rows
            .enumerate()
            .map(|(row, (((dear, mask), decided), open))| {
                let (Some(mask), Some(decided)) = (mask, decided) else {
                    return dear;
                };
                let is_open = open.is_some();
                if is_open && dear.is_none() {
                    return None;
                }
                let looked = self.merged(cheap, mask, decided, dear, row < end);
                if !is_open {
                    self.pipeline.note(&looked.outputs);
                }
                Some(looked)
            });
        Ok(Found {
            rows: rows.collect(),
            exhausted: dear.exhausted,
            asked: said.asked.max(dear.asked),
        })
    }

    /// What is left to ask the dear model of a row; `None` where nothing is.
    fn open(
        &self,
        cheap: &Cheap,
        mask: &Arc<ColumnMask>,
        decided: Option<&Decision>,
    ) -> Option<Arc<ColumnMask>> {
        let RequestedOutputs { bytes, info, .. } = mask.requested;
        let (said, audited) = match decided {
            None => return Some(Arc::clone(mask)),
            Some(Decision::Unreadable(_)) => {
                return (bytes || info).then(|| Arc::clone(mask));
            }
            Some(Decision::Said(said, audited)) => (said, *audited),
        };
        let places = mask.places.iter().zip(said);
        let asked: Vec<bool> = places
            .map(|(place, said)| {
                let decided = said.is_some_and(|said| said.scaled.is_some());
                place.is_some() && (audited || !decided)
            })
            .collect();
        if !asked.contains(&true) && !bytes && !info {
            return None;
        }
        let key = (asked, [bytes, info]);
        let mut known = cheap.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = known.get(&key) {
            return Some(Arc::clone(open));
        }
        let mut questions = Vec::new();
        let places = key.0.iter().zip(&self.questions).map(|(asked, question)| {
            asked.then(|| {
                questions.push(question.clone());
                questions.len() - 1
            })
        });
        let places = places.collect();
        let answers = (!questions.is_empty()).then(|| self.pipeline.questions(questions.into()));
        let open = Arc::new(ColumnMask {
            requested: RequestedOutputs {
                bytes,
                info,
                answers,
            },
            places,
            cheap: None,
        });
        if known.len() >= MOST_SETS {
            known.clear();
        }
        known.insert(key, Arc::clone(&open));
        Some(open)
    }

    /// The answers of both models about a row as those of one; whether it `counts` among the rows of the run.
    fn merged(
        &self,
        cheap: &Cheap,
        mask: Arc<ColumnMask>,
        decided: Decision,
        dear: Option<Looked>,
        counts: bool,
    ) -> Looked {
        let (said, audited) = match decided {
            Decision::Said(said, audited) => (said, audited),
            Decision::Unreadable(error) => {
                // Asked for its bytes, the dear model's pipeline has found the same.
                return dear.unwrap_or_else(|| {
                    let outputs = ImageOutputs {
                        answers: Some(Err(error)),
                        ..ImageOutputs::default()
                    };
                    Looked::new(mask, outputs)
                });
            }
        };
        let (mut outputs, places) = match dear {
            Some(dear) => (dear.outputs, dear.mask.places.clone()),
            None => (ImageOutputs::default(), vec![None; mask.places.len()]),
        };
        let dear: Option<Answers> = match outputs.answers.take() {
            None => None,
            Some(Ok(answers)) => Some(answers),
            Some(Err(error)) => {
                outputs.answers = Some(Err(error));
                return Looked::new(mask, outputs);
            }
        };
        let answered = |question: usize| dear.as_ref()?.get(places[question]?).cloned();
        if counts {
            cheap.note(&said, audited, |question| answered(question)?.score());
        }
        let mut by_cheap = vec![false; mask.places.len()];
        let mut all: Vec<Option<Answer>> = vec![None; mask.places.iter().flatten().count()];
        for (question, place) in mask.places.iter().enumerate() {
            let Some(place) = *place else { continue };
            all[place] = answered(question).or_else(|| {
                let scaled = said[question]?.scaled?;
                by_cheap[question] = true;
                Some(Answer::Score(scaled))
            });
        }
        let all: Option<Vec<Answer>> = all.into_iter().collect();
        outputs.answers = mask.requested.answers.as_ref().map(|_| match all {
            Some(all) => Ok(all.into()),
            None => Err(RowError::model(
                "refused",
                "the models left a question open between them",
            )),
        });
        Looked {
            mask,
            outputs,
            by_cheap,
        }
    }
}
