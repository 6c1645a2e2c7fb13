//! The crate's integration tests, through its public interface only.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod classifier;
mod golden_data;
mod goldens;
mod ops;
mod preprocess;
mod service;
