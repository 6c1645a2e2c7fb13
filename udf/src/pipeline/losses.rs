//! What images a statement lost: how many of how many have no answer, and why most of them.
//!
//! The caller that runs a statement puts a [`Losses`] into its session's configuration and asks it afterwards. Results do not carry
//! this: an image that cannot be read is a NULL like any other there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::pipeline::outcome::RowError;

/// Images that a statement asked about, and those of them that have no answer.
#[derive(Debug, Default)]
pub struct Losses {
    images: AtomicU64,
    /// By stage and kind, both of which are few.
    reasons: Mutex<HashMap<Kind, Reason>>,
}

/// Stage and kind of a failure.
type Kind = (Cow<'static, str>, Cow<'static, str>);

/// Images that were lost alike.
#[derive(Debug)]
struct Reason {
    count: u64,
    /// The first of them.
    error: String,
    reference: Option<String>,
}

impl Losses {
    /// An image was asked about.
    pub fn note_image(&self) {
        self.images.fetch_add(1, Ordering::Relaxed);
    }

    /// An image that the table calls `reference` has no answer.
    pub(crate) fn note_lost(&self, error: &RowError, reference: Option<String>) {
        self.note_reason(error.stage.into(), error.kind.into(), error, reference);
    }

    /// An image that the table calls `reference` has no answer, because of this `kind` of failure of a `stage`; `error` is the sentence.
    pub fn note_reason(
        &self,
        stage: Cow<'static, str>,
        kind: Cow<'static, str>,
        error: &dyn fmt::Display,
        reference: Option<String>,
    ) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = reasons.entry((stage, kind)).or_insert_with(|| Reason {
            count: 0,
            error: error.to_string(),
            reference,
        });
        reason.count += 1;
    }

    /// One sentence about the images that were lost; `None` where none was.
    pub fn said(&self) -> Option<String> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let lost: u64 = reasons.values().map(|reason| reason.count).sum();
        // Of equally frequent ones always the same.
        let most = reasons
            .iter()
            .max_by(|(a, x), (b, y)| x.count.cmp(&y.count).then(b.cmp(a)))?;
        let Reason {
            error, reference, ..
        } = most.1;
        let example = match reference {
            Some(reference) if !error.contains(reference.as_str()) => format!(" ({reference})"),
            _ => String::new(),
        };
        Some(format!(
            "{lost} of {} images could not be read or judged; most frequent: {error}{example}",
            self.images.load(Ordering::Relaxed)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(stage: &'static str, kind: &'static str, message: &str) -> RowError {
        RowError {
            stage,
            kind,
            message: message.to_string(),
            reference: None,
        }
    }

    #[test]
    fn the_most_frequent_reason_is_said_with_its_first_image() {
        let losses = Losses::default();
        for _ in 0..5 {
            losses.note_image();
        }
        assert_eq!(losses.said(), None);
        losses.note_lost(
            &error("fetch", "not_found", "'x.jpg' is not there"),
            Some("x.jpg".into()),
        );
        losses.note_lost(
            &error("decode", "truncated", "it ends early"),
            Some("a.jpg".into()),
        );
        losses.note_lost(
            &error("decode", "truncated", "it ends too early"),
            Some("b.jpg".into()),
        );
        assert_eq!(
            losses.said().unwrap(),
            "3 of 5 images could not be read or judged; most frequent: decode: it ends early (a.jpg)"
        );
    }

    #[test]
    fn an_image_that_the_reason_names_is_not_named_again() {
        let losses = Losses::default();
        losses.note_image();
        losses.note_lost(
            &error("fetch", "not_found", "'x.jpg' is not there"),
            Some("x.jpg".into()),
        );
        assert!(
            losses
                .said()
                .unwrap()
                .ends_with("fetch: 'x.jpg' is not there")
        );
    }
}
