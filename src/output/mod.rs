//! Where labelled rows go: partitioned Parquet, in a folder of this machine or of an object store.
//!
//! [`writer`] makes files, [`place`] puts them somewhere safely, [`publish`] makes an output of them, and [`claim`] sees to it
//! that one program does so at a time.

pub mod claim;
pub mod folder;
pub mod huggingface;
mod mounts;
mod others;
pub mod place;
pub mod properties;
pub mod publish;
pub mod rewrite;
pub mod writer;
