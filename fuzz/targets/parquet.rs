//! Any bytes as a Parquet table: a sentence, or batches that take no more memory than is stated.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/parquet.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::holds(input));
