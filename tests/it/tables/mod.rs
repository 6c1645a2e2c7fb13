//! Tables from files that different programs wrote.

mod columns;
mod files;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::*;

/// The rows of a query.
pub(super) fn rows(query: &str) -> Vec<Value> {
    let output = picsift(["sql", "--no-cache", "--format", "json", "-c", query]);
    let lines = stdout(&output);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(super) fn label(inputs: &[&Path], more: &[&str]) -> (TempDir, std::process::Output) {
    let folder = tempdir().unwrap();
    let target = folder.path().join("out");
    let mut args = vec!["label"];
    args.extend(inputs.iter().map(|input| input.to_str().unwrap()));
    args.extend(["-o", target.to_str().unwrap(), "--categories", "fish"]);
    args.extend(more);
    let output = picsift(args);
    (folder, output)
}

/// The labelled rows of inputs.
pub(super) fn labelled(inputs: &[&Path], more: &[&str]) -> RecordBatch {
    let (folder, output) = label(inputs, more);
    stdout(&output);
    read_table(&folder.path().join("out"))
}

pub(super) fn images(count: usize) -> ArrayRef {
    array(BinaryArray::from_vec(vec![&photo("fish27_149.jpg"); count]))
}

pub(super) fn ids(numbers: &[i64]) -> ArrayRef {
    array(Int64Array::from(numbers.to_vec()))
}

/// A table with one row, in folders that are made for it.
pub(super) fn one(path: PathBuf, id: i64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_table(&path, vec![("id", ids(&[id])), ("image", images(1))]);
}
