//! Labelled rows as partitioned Parquet files.
//!
//! [`writer`] makes files of rows, [`rewrite`] makes them again without some, [`properties`] and [`huggingface`] say what stands in them
//! besides. Where files belong and when they can be seen is `crate::dataset`'s to know.

pub mod huggingface;
pub mod properties;
pub mod rewrite;
pub mod writer;
