//! End-to-end tests: the real binary and the real session over the data in the repository.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod accuracy;
mod authority;
mod bad_input;
mod batches;
mod bounds;
mod cascade;
mod cluster;
mod corpus;
#[path = "../../images/tests/corpus/mod.rs"]
mod corpus_files;
mod corrections;
mod dataset;
mod differential;
mod docs;
mod eval;
mod examples;
mod explain;
mod export;
mod failing;
mod gallery;
mod habits;
mod image_command;
mod inputs;
mod kept;
mod kill;
mod label;
mod lineage;
mod models_command;
mod pictures;
mod pocket;
mod printing;
mod readers;
mod remote;
mod resume;
mod rude;
mod s3;
mod said;
mod sandbox;
mod secrets;
mod seeds;
mod served;
mod serving;
mod shapes;
mod shell;
mod siglip;
mod sql_command;
mod sqllogic;
mod tables;
mod teach;
mod units;
mod unreadable;
mod upstream;
