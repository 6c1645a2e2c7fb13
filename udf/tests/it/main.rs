//! The functions over a model with known answers: what SQL makes of scores, words and failures.

#![allow(clippy::unwrap_used)]

mod fake;
mod functions;
mod lineage;
