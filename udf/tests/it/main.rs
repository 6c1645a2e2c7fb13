//! The functions over a model with known answers: what SQL makes of scores, words and failures.

mod fake;
mod functions;
mod lineage;
