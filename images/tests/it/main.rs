//! The crate as its callers see it: formats, limits, geometry, references and servers.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bounded;
mod broken;
mod buckets;
mod corpus;
#[path = "../corpus/mod.rs"]
mod corpus_files;
mod files;
mod formats;
mod geometry;
mod held;
mod http;
mod hub;
mod patience;
mod polite;
mod pool;
mod private;
mod rooted;
mod seeds;
mod similar;
mod site;
mod support;
mod versions;
mod wild;
