//! Categories asked together, and what follows from their scores.
//!
//! Owns thresholds and the pure rules from scores to booleans, labels, best label and JSON. It knows neither
//! images nor Arrow nor SQL, so that functions and jobs cannot come to different answers.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use picsift_vision::{CategorySpec, HEAD_THRESHOLD, Question, VisionError};

use crate::pipeline::models::ModelHandle;
use crate::pipeline::outcome::{Outcome, value};

/// Categories checked against one model: names, thresholds and the model's questions, in one order.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelling {
    names: Vec<String>,
    thresholds: Vec<f32>,
    questions: Arc<[Question]>,
}

impl Labelling {
    /// Checks the categories with the model.
    ///
    /// `threshold` is for categories that have none of their own; without it the model's default holds, and [`HEAD_THRESHOLD`] for
    /// those that were taught.
    ///
    /// # Errors
    /// A planning error for an empty list, a repeated name, a threshold outside 0 to 1, or a category that the
    /// model does not know (the message names all of them, and near ones that it knows).
    pub fn new(
        model: &ModelHandle,
        specs: &[CategorySpec],
        threshold: Option<f32>,
    ) -> Result<Self> {
        if specs.is_empty() {
            return plan_err!("no category is given; name at least one");
        }
        let mut labelling = Self {
            names: Vec::with_capacity(specs.len()),
            thresholds: Vec::with_capacity(specs.len()),
            questions: Arc::new([]),
        };
        let mut questions = Vec::with_capacity(specs.len());
        let mut refused = Vec::new();
        let mut known = HashSet::with_capacity(specs.len());
        for spec in specs {
            let name = &spec.category.name;
            if name.trim().is_empty() {
                return plan_err!("a category is empty text; name a noun such as 'dog'");
            }
            if !known.insert(name) {
                return plan_err!("category '{name}' is given twice");
            }
            let own = match spec.category.head {
                // What was taught says probabilities, whatever the model's own scores are.
                Some(_) => HEAD_THRESHOLD,
                None => model.info().default_threshold,
            };
            let threshold = spec.threshold.or(threshold).unwrap_or(own);
            if !(0.0..=1.0).contains(&threshold) {
                return plan_err!(
                    "threshold {threshold} of category '{name}' is not within 0 to 1"
                );
            }
            labelling.names.push(name.clone());
            labelling.thresholds.push(threshold);
            match model.category(&spec.category) {
                Ok(question) => questions.push(question),
                Err(error) => refused.push(error),
            }
        }
        if let Some(error) = VisionError::together(refused) {
            return Err(plan_datafusion_err!("{error}"));
        }
        labelling.questions = questions.into();
        Ok(labelling)
    }

    /// The categories' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The score from which each category holds.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// The model's questions.
    pub fn questions(&self) -> &Arc<[Question]> {
        &self.questions
    }

    /// Whether each category holds: its score reaches its threshold.
    pub fn holds(&self, scores: &[f32]) -> Vec<bool> {
        holds(&self.thresholds, scores)
    }

    /// Whether each category holds, and the name of the best of them: what a person said comes first, then the highest score, the first of
    /// equals; `None` when none holds. `said` has for each category what a person said, and is empty where nobody said anything.
    pub fn judged(
        &self,
        scores: &[f32],
        said: Vec<Option<bool>>,
    ) -> (Vec<Option<bool>>, Option<&str>) {
        let row = RowPrediction::new(Some(Ok(scores.to_vec())), said);
        (row.holds(self).unwrap_or_default(), row.best(self))
    }
}

/// Whether each score reaches its threshold.
fn holds(thresholds: &[f32], scores: &[f32]) -> Vec<bool> {
    scores.iter().zip(thresholds).map(|(s, t)| s >= t).collect()
}

/// The prediction for one row, and what people said in its place.
#[derive(Debug, Clone)]
pub(crate) struct RowPrediction {
    outcome: Outcome<Vec<f32>>,
    /// For each category what was said; empty where nothing was.
    overrides: Vec<Option<bool>>,
    /// For each category whether a cheap model answered; empty where none did.
    cheap: Vec<bool>,
}

impl RowPrediction {
    pub(crate) fn new(outcome: Outcome<Vec<f32>>, overrides: Vec<Option<bool>>) -> Self {
        Self {
            outcome,
            overrides,
            cheap: Vec::new(),
        }
    }

    /// The same, in which a cheap model has answered for those categories.
    pub(crate) fn with_cheap(self, cheap: Vec<bool>) -> Self {
        Self { cheap, ..self }
    }

    /// Who answered about a category; `None` where nobody did.
    pub(crate) fn answered_by(&self, category: usize) -> Option<&'static str> {
        let person = self.overrides.get(category).copied().flatten();
        if person.is_some() {
            return Some("person");
        }
        self.scores()?;
        Some(match self.cheap.get(category) {
            Some(true) => "cheap",
            _ => "dear",
        })
    }

    pub(crate) fn outcome(&self) -> &Outcome<Vec<f32>> {
        &self.outcome
    }

    /// The model's scores, of an image that it was asked about.
    pub(crate) fn scores(&self) -> Option<&Vec<f32>> {
        value(&self.outcome)
    }

    /// Whether a person decided about one of the categories.
    pub(crate) fn is_corrected(&self) -> bool {
        !self.overrides.is_empty()
    }

    /// Whether each category holds, by what a person said or else by its score; `None` for one about which neither is known,
    /// and for a row of which nothing is.
    pub(crate) fn holds(&self, labelling: &Labelling) -> Option<Vec<Option<bool>>> {
        let by_model = self.scores().map(|scores| labelling.holds(scores));
        if by_model.is_none() && !self.is_corrected() {
            return None;
        }
        let each = (0..labelling.names().len()).map(|index| {
            let person = self.overrides.get(index).copied().flatten();
            person.or_else(|| by_model.as_ref()?.get(index).copied())
        });
        Some(each.collect())
    }

    /// The best of the categories that hold: what a person said comes first, then the highest score, the first of equals.
    pub(crate) fn best<'a>(&self, labelling: &'a Labelling) -> Option<&'a str> {
        let holds = self.holds(labelling)?;
        let worth = |index: usize| {
            let by_person = self.overrides.get(index).copied().flatten() == Some(true);
            let score = self.scores().and_then(|scores| scores.get(index).copied());
            (by_person, score.unwrap_or(0.0))
        };
        let mut best: Option<usize> = None;
        for (index, held) in holds.iter().enumerate() {
            let better = |best: usize| worth(index) > worth(best);
            if *held == Some(true) && best.is_none_or(better) {
                best = Some(index);
            }
        }
        best.map(|index| labelling.names()[index].as_str())
    }
}

/// The names that hold, in the order in which they were asked.
pub fn labels<'a>(names: &'a [String], holds: &[Option<bool>]) -> Vec<&'a str> {
    names
        .iter()
        .zip(holds)
        .filter_map(|(name, held)| (*held == Some(true)).then_some(name.as_str()))
        .collect()
}

/// The answers as a JSON object, name to boolean, in the order in which they were asked; null where none is known.
pub(crate) fn answers_json(names: &[String], holds: &[Option<bool>]) -> String {
    let members: Vec<String> = names
        .iter()
        .zip(holds)
        .map(|(name, held)| {
            let held = held.map_or("null".to_string(), |held| held.to_string());
            format!("{}: {held}", serde_json::Value::from(name.as_str()))
        })
        .collect();
    format!("{{{}}}", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::outcome::RowError;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn a_score_at_its_threshold_holds() {
        assert_eq!(
            holds(&[0.2, 0.2, 0.9], &[0.2, 0.19, 0.89]),
            [true, false, false]
        );
    }

    fn labelling(names: &[&str], thresholds: &[f32]) -> Labelling {
        Labelling {
            names: names.iter().map(|name| name.to_string()).collect(),
            thresholds: thresholds.to_vec(),
            questions: Arc::new([]),
        }
    }

    fn scored(scores: &[f32], overrides: &[Option<bool>]) -> RowPrediction {
        RowPrediction::new(Some(Ok(scores.to_vec())), overrides.to_vec())
    }

    fn failed(overrides: &[Option<bool>]) -> RowPrediction {
        let error = RowError::model("refused", "no");
        RowPrediction::new(Some(Err(error)), overrides.to_vec())
    }

    #[test]
    fn labels_keep_the_order_asked() {
        let names = names(&["dog", "cat", "bird"]);
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(labels(&names, &[yes, no, yes]), ["dog", "bird"]);
        assert!(labels(&names, &[no, None, no]).is_empty());
    }

    #[test]
    fn best_is_the_highest_that_holds() {
        let three = labelling(&["dog", "cat", "bird"], &[0.2, 0.2, 0.95]);
        assert_eq!(scored(&[0.3, 0.4, 0.9], &[]).best(&three), Some("cat"));
        assert_eq!(scored(&[0.4, 0.4, 0.9], &[]).best(&three), Some("dog"));
        assert_eq!(scored(&[0.1; 3], &[]).best(&three), None);
    }

    #[test]
    fn what_a_person_said_wins() {
        let three = labelling(&["dog", "cat", "bird"], &[0.5; 3]);
        let (yes, no) = (Some(true), Some(false));
        let row = scored(&[0.9, 0.6, 0.1], &[no, None, yes]);
        assert_eq!(row.holds(&three), Some(vec![no, yes, yes]));
        assert_eq!(row.best(&three), Some("bird"));
        // Of an image that could not be read, what was said is all that is known.
        assert_eq!(failed(&[]).holds(&three), None);
        let row = failed(&[None, yes, None]);
        assert_eq!(row.holds(&three), Some(vec![None, yes, None]));
        assert_eq!(row.best(&three), Some("cat"));
    }

    #[test]
    fn json_escapes_names() {
        let names = names(&["fish", "a \"b\"", "cow"]);
        assert_eq!(
            answers_json(&names, &[Some(true), Some(false), None]),
            r#"{"fish": true, "a \"b\"": false, "cow": null}"#
        );
    }
}
