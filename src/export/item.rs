//! What an export is made of: pictures with their class and the rest of their row. The formats are `sinks`.

use bytes::Bytes;
use serde_json::{Map, Value};

/// One picture on its way into a data set.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its number in the export, from 0, over all splits.
    pub number: u64,
    /// Its row in the batch it came with.
    pub row: usize,
    /// The number of its split.
    pub split: usize,
    /// The number of its class.
    pub class: usize,
    /// The encoded picture.
    pub bytes: Bytes,
    /// What its content is, as the end of a file's name: `jpg`, `png`.
    pub extension: &'static str,
    /// What the table calls it.
    pub name: Option<String>,
    /// The row's other columns.
    pub columns: Map<String, Value>,
}

/// The end of a file's name for a format as `image_info` gives it.
pub fn extension(format: &'static str) -> &'static str {
    match format {
        "jpeg" => "jpg",
        other => other,
    }
}
