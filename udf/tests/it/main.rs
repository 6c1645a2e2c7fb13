//! The functions over a model with known answers: what SQL makes of scores, words and failures; and the engine below them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod aggregates;
mod bounds;
mod cascaded;
mod embeddings;
mod engine;
mod fake;
mod functions;
mod lineage;
mod operator;
mod order;
mod planning;
mod plans;
mod random;
mod shipped;
mod stock;
mod tables;
mod taught;
