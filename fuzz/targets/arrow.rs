//! Any bytes as a folder that `datasets.save_to_disk` made: a sentence in one line, or rows that take no more memory than the file can
//! fill.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/arrow.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::holds(input));
