//! Where labelled rows go: partitioned Parquet in a folder that appears whole or not at all.

pub mod huggingface;
pub mod publish;
pub mod writer;
