//! What a labelled table is: the files that its manifest lists, their columns, and how both come into being whole.
//!
//! [`manifest`] is `_picsift.json`; [`Labels`] opens a table by it, [`columns`] and [`failures`] say what is in it. [`store`] is a place
//! where files appear whole, [`lease`] the right to write there, [`finished`] where files wait that [`publish`] makes a table of files or replaces one, and
//! [`folder`] does the same for pages and data sets made from a table. What labels are made or used for is not known here, and
//! nothing is printed.

mod base;
pub mod cascade;
pub mod columns;
pub mod failures;
pub mod finished;
pub mod folder;
mod inside;
pub mod labels;
pub mod lease;
pub mod manifest;
mod mounts;
mod objects;
pub mod origins;
mod others;
pub mod own;
pub mod publish;
pub mod store;

pub use labels::{LabelledCategory, Labels, base_of};
pub use manifest::Manifest;

/// The column that says how many rows one stands for, as a sample has it.
pub const WEIGHT: &str = "picsift_weight";
