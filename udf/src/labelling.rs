//! Categories asked together, and what follows from their scores.
//!
//! Owns thresholds and the pure rules from scores to booleans, labels, best label and JSON. It knows neither
//! images nor Arrow nor SQL, so that functions and jobs cannot come to different answers.

use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use picsift_vision::{CategorySpec, Question, Service};

/// Categories checked against one model: names, thresholds and the model's questions, in one order.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelling {
    names: Vec<String>,
    thresholds: Vec<f32>,
    questions: Arc<[Question]>,
}

impl Labelling {
    /// Checks the categories with the model behind `service`.
    ///
    /// `threshold` is for categories that have none of their own; without it the model's default holds.
    ///
    /// # Errors
    /// A planning error for an empty list, a repeated name, a threshold outside 0 to 1, or a category that the
    /// model does not know (the message names near ones).
    pub fn new(service: &Service, specs: &[CategorySpec], threshold: Option<f32>) -> Result<Self> {
        if specs.is_empty() {
            return plan_err!("no category is given; name at least one");
        }
        let mut labelling = Self {
            names: Vec::with_capacity(specs.len()),
            thresholds: Vec::with_capacity(specs.len()),
            questions: Arc::new([]),
        };
        let mut questions = Vec::with_capacity(specs.len());
        for spec in specs {
            let name = &spec.category.name;
            if name.trim().is_empty() {
                return plan_err!("a category is empty text; name a noun such as 'dog'");
            }
            if labelling.names.contains(name) {
                return plan_err!("category '{name}' is given twice");
            }
            let threshold = spec
                .threshold
                .or(threshold)
                .unwrap_or(service.info().default_threshold);
            if !(0.0..=1.0).contains(&threshold) {
                return plan_err!(
                    "threshold {threshold} of category '{name}' is not within 0 to 1"
                );
            }
            let question = service
                .questions()
                .category(&spec.category)
                .map_err(|e| plan_datafusion_err!("{e}"))?;
            labelling.names.push(name.clone());
            labelling.thresholds.push(threshold);
            questions.push(question);
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
}

/// Whether each score reaches its threshold.
pub fn holds(thresholds: &[f32], scores: &[f32]) -> Vec<bool> {
    scores.iter().zip(thresholds).map(|(s, t)| s >= t).collect()
}

/// The names that hold, in the order in which they were asked.
pub fn labels<'a>(names: &'a [String], holds: &[bool]) -> Vec<&'a str> {
    names
        .iter()
        .zip(holds)
        .filter_map(|(name, held)| held.then_some(name.as_str()))
        .collect()
}

/// The name with the highest score among those that hold; the first of equals; `None` when none holds.
pub fn best_label<'a>(names: &'a [String], holds: &[bool], scores: &[f32]) -> Option<&'a str> {
    let mut best: Option<(usize, f32)> = None;
    for (index, (&score, &held)) in scores.iter().zip(holds).enumerate() {
        if held && best.is_none_or(|(_, top)| score > top) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| names[index].as_str())
}

/// The answers as a JSON object, name to boolean, in the order in which they were asked.
pub fn answers_json(names: &[String], holds: &[bool]) -> String {
    let members: Vec<String> = names
        .iter()
        .zip(holds)
        .map(|(name, held)| format!("{}: {held}", serde_json::Value::from(name.as_str())))
        .collect();
    format!("{{{}}}", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn labels_keep_the_order_asked() {
        let names = names(&["dog", "cat", "bird"]);
        assert_eq!(labels(&names, &[true, false, true]), ["dog", "bird"]);
        assert!(labels(&names, &[false; 3]).is_empty());
    }

    #[test]
    fn best_is_the_highest_that_holds() {
        let names = names(&["dog", "cat", "bird"]);
        assert_eq!(
            best_label(&names, &[true, true, false], &[0.3, 0.4, 0.9]),
            Some("cat")
        );
        assert_eq!(
            best_label(&names, &[true, true, false], &[0.4, 0.4, 0.9]),
            Some("dog")
        );
        assert_eq!(best_label(&names, &[false; 3], &[0.1; 3]), None);
    }

    #[test]
    fn json_escapes_names() {
        let names = names(&["fish", "a \"b\""]);
        assert_eq!(
            answers_json(&names, &[true, false]),
            r#"{"fish": true, "a \"b\"": false}"#
        );
    }
}
