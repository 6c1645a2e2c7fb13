//! The crate's integration tests, through its public interface only.

mod classifier;
mod goldens;
mod service;
