//! When a cheap model may answer for a dear one: thresholds with a promise that holds at finite samples, for any scores.
//!
//! Recall and precision are against the dear model: of the rows that it would have said yes to, so many are labelled yes, and of those
//! labelled yes it would have said yes to so many. The promise is about the table that the sample was drawn from. How good the cheap scores
//! are decides how much is spared, never whether the promise is kept. Arithmetic alone: nothing here reads a table or knows a model.

pub mod binomial;
pub mod draw;
pub mod drift;
pub mod size;
pub mod thresholds;

pub use thresholds::{Judged, Thresholds, thresholds};

/// What is promised of a category, each from 0 to 1, both left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Promise {
    /// Least share of the dear model's yeses that are labelled yes; `None` is all of them.
    pub recall: Option<f64>,
    /// Least share of the yeses that the dear model would have given too; `None` is all of them.
    pub precision: Option<f64>,
}
