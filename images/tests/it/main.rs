//! The crate as its callers see it: formats, limits, geometry, references and servers.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod broken;
mod corpus;
#[path = "../corpus/mod.rs"]
mod corpus_files;
mod files;
mod formats;
mod geometry;
mod http;
mod pool;
mod support;
