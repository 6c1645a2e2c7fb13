//! What a manifest says of the cheap model that answered for a dear one: its thresholds, the sample that they follow from, what it was
//! promised to keep, and what came of the rows.
//!
//! The thresholds of a job are those of its sample, moved past the mistakes that audits have found so far: a matter of what is
//! remembered of the shards before alone, so that a job that is carried on goes on with the same.

use picsift_udf::{Answered, CascadeCounts};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cascade::{Promise, Thresholds, drift};

/// A cheap model that answered where it might.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CascadeEntry {
    /// The cheap model: name, revision, device, number format.
    pub cheap: Value,
    /// Probability, 0 to 1, with which all promises hold together.
    pub confidence: f64,
    /// Share, 0 to 1, of what the cheap model decides that the dear one is asked about all the same.
    pub audit: f64,
    /// Rows that the sample was drawn from.
    pub rows: u64,
    /// Rows of the sample, about which both models were asked.
    pub sampled: u64,
    /// Share of the sample's rows about which the dear model has to be asked.
    pub unsure: f64,
    /// The categories that something was promised of.
    pub categories: Vec<CascadeCategory>,
    /// What came of the rows.
    #[serde(default)]
    pub counts: CascadeCounts,
    /// What a person should know: that nothing is spared, that rows have drifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Where the cheap model decided about a category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CascadeCategory {
    /// Its name.
    pub name: String,
    /// SHA-256 of what the cheap model was taught of it, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The head as a file of heads in base64, where it was taught what the dear model said of the first sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught: Option<String>,
    /// Least recall and precision that were promised, against the dear model.
    pub min_recall: Option<f64>,
    /// See `min_recall`.
    pub min_precision: Option<f64>,
    /// A cheap score below was a no; `None` where none was.
    pub low: Option<f32>,
    /// A cheap score from here on was a yes; `None` where none was.
    pub high: Option<f32>,
    /// Lower bounds of recall and precision by the sample.
    pub recall: f64,
    /// See `recall`.
    pub precision: f64,
    /// Rows of the sample, and of them those that held; those below `low` and of them those that held; those from `high` on and of them
    /// those that did not.
    pub sampled: u64,
    /// See `sampled`.
    pub held: u64,
    /// See `sampled`.
    pub below: u64,
    /// See `sampled`.
    pub missed: u64,
    /// See `sampled`.
    pub above: u64,
    /// See `sampled`.
    pub mistaken: u64,
}

impl CascadeCategory {
    /// What a sample says of a category.
    pub fn new(name: &str, head: Option<String>, promise: &Promise, found: &Thresholds) -> Self {
        Self {
            name: name.to_string(),
            head,
            taught: None,
            min_recall: promise.recall,
            min_precision: promise.precision,
            low: found.low.is_finite().then_some(found.low),
            high: found.high.is_finite().then_some(found.high),
            recall: found.recall,
            precision: found.precision,
            sampled: found.sampled,
            held: found.held,
            below: found.below,
            missed: found.missed,
            above: found.above,
            mistaken: found.mistaken,
        }
    }

    /// Whether the cheap model decides anything about it.
    pub fn decides(&self) -> bool {
        self.low.is_some() || self.high.is_some()
    }

    fn promise(&self) -> Promise {
        Promise {
            recall: self.min_recall,
            precision: self.min_precision,
        }
    }

    fn found(&self) -> Thresholds {
        Thresholds {
            low: self.low.unwrap_or(f32::NEG_INFINITY),
            high: self.high.unwrap_or(f32::INFINITY),
            sampled: self.sampled,
            held: self.held,
            below: self.below,
            missed: self.missed,
            above: self.above,
            mistaken: self.mistaken,
            recall: self.recall,
            precision: self.precision,
        }
    }

    /// Moves the thresholds past the mistakes of an audit, where they are more than the promise allows; what to say then.
    fn widen(&mut self, audit: &mut Answered) -> Vec<String> {
        let (found, promise, name) = (self.found(), self.promise(), &self.name);
        let mut said = Vec::new();
        let allowed = drift::allowed_missed(&found, &promise);
        if let Some(lowest) = audit.lowest_missed
            && self.low.is_some()
            && drift::is_drift(audit.missed, audit.audited_no, allowed)
        {
            said.push(format!(
                "'{name}' has drifted: of {} audited noes of the cheap model {} were wrong; from there on only scores below {lowest} were noes",
                audit.audited_no, audit.missed
            ));
            self.low = (lowest > 0.0).then_some(lowest);
            (audit.audited_no, audit.missed, audit.lowest_missed) = (0, 0, None);
        }
        let allowed = drift::allowed_mistaken(&found, &promise);
        if let Some(highest) = audit.highest_mistaken
            && self.high.is_some()
            && drift::is_drift(audit.mistaken, audit.audited_yes, allowed)
        {
            let next = highest.next_up();
            said.push(format!(
                "'{name}' has drifted: of {} audited yeses of the cheap model {} were wrong; from there on only scores from {next} on were yeses",
                audit.audited_yes, audit.mistaken
            ));
            self.high = (next <= 1.0).then_some(next);
            (audit.audited_yes, audit.mistaken, audit.highest_mistaken) = (0, 0, None);
        }
        said
    }
}

impl CascadeEntry {
    /// What holds after shards of which so much was counted.
    pub fn after<'a>(mut self, shards: impl IntoIterator<Item = &'a CascadeCounts>) -> Self {
        let mut audits: Vec<Answered> = vec![Answered::default(); self.categories.len()];
        for counts in shards {
            self.counts.add(counts);
            for (category, audit) in self.categories.iter_mut().zip(&mut audits) {
                if let Some(new) = counts.categories.get(&category.name) {
                    audit.add(new);
                    self.notes.extend(category.widen(audit));
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entry() -> CascadeEntry {
        let promise = Promise {
            recall: Some(0.9),
            precision: Some(0.9),
        };
        let found = Thresholds {
            low: 0.3,
            high: 0.8,
            sampled: 1000,
            held: 100,
            below: 800,
            missed: 4,
            above: 90,
            mistaken: 2,
            recall: 0.91,
            precision: 0.92,
        };
        CascadeEntry {
            cheap: Value::Null,
            confidence: 0.95,
            audit: 0.01,
            rows: 10_000,
            sampled: 1000,
            unsure: 0.11,
            categories: vec![CascadeCategory::new("dog", None, &promise, &found)],
            counts: CascadeCounts::default(),
            notes: Vec::new(),
        }
    }

    fn audited(no: u64, missed: u64, lowest: f32) -> CascadeCounts {
        let dog = Answered {
            audited_no: no,
            missed,
            lowest_missed: (missed > 0).then_some(lowest),
            ..Answered::default()
        };
        CascadeCounts {
            categories: BTreeMap::from([("dog".to_string(), dog)]),
            ..CascadeCounts::default()
        }
    }

    #[test]
    fn drift_moves_a_threshold_past_the_mistakes_from_there_on_and_is_said() {
        let calm = [audited(100, 1, 0.1), audited(100, 2, 0.1)];
        let after = entry().after(&calm);
        assert_eq!((after.categories[0].low, after.notes.len()), (Some(0.3), 0));
        let drifted = [
            audited(100, 1, 0.25),
            audited(100, 20, 0.2),
            audited(100, 0, 0.0),
        ];
        let after = entry().after(&drifted);
        assert_eq!(after.categories[0].low, Some(0.2));
        assert!(
            after.notes[0].contains("of 200 audited noes") && after.notes.len() == 1,
            "{:?}",
            after.notes
        );
        assert_eq!(after.counts.categories["dog"].audited_no, 300);
        // The same shard by shard, as a job that is carried on does.
        assert_eq!(entry().after(&drifted[..2]).categories, after.categories);
    }

    #[test]
    fn a_mistake_at_the_lowest_score_ends_all_noes() {
        let after = entry().after(&[audited(10, 9, 0.0)]);
        assert_eq!(after.categories[0].low, None);
    }
}
