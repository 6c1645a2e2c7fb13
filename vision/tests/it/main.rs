//! The crate's integration tests, through its public interface only.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkpoints;
mod classifier;
mod coco_ssd;
mod devices;
mod golden_data;
mod goldens;
mod hub;
mod kernels;
mod moondream;
mod mutated;
mod ops;
mod packed;
mod pocket;
mod preprocess;
mod prompts;
mod seeds;
mod service;
mod shapes;
mod siglip;
mod staged;
mod store;
