//! Label images with SQL: sessions, labelling jobs and labelled tables.
//!
//! Three things are for programs: a [`Session`](sql::Session) answers SQL with Arrow record batches, a [`LabelJob`](label::LabelJob) labels
//! tables, and [`Labels`](dataset::Labels) opens what it wrote. [`eval`], [`sample`], [`gallery`], [`export`] and [`teach`] stand on labelled tables. [`cli`]
//! and [`commands`] are the program `picsift` over all of them. What an image shows is asked through `picsift-udf`; nothing here
//! decodes or judges.

pub mod batches;
pub mod cascade;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod corrections;
pub mod dataset;
mod depth;
pub mod disk;
pub mod error;
pub mod eval;
pub mod export;
pub mod gallery;
pub mod input;
pub mod label;
pub mod listen;
pub mod metrics;
pub mod options;
pub mod output;
pub mod requests;
pub mod sample;
pub mod serve;
pub mod session;
pub mod sql;
pub mod stores;
pub mod tables;
pub mod teach;
pub mod tune;
