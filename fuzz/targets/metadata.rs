//! Any bytes as what is known of a folder's pictures, in each of its forms: a sentence in one line, or a row for each picture.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/metadata.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::holds(input));
