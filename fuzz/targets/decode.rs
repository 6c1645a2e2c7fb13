//! Any bytes as an image: an error of one sentence, or pixels that agree with the header and keep the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/decode.rs"]
mod check;

fuzz_target!(|bytes: &[u8]| check::holds(bytes));
