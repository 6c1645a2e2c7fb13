//! Any bytes as a file of corrections, in each of its forms: a sentence in one line, or corrections of images.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/corrections.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::holds(input));
