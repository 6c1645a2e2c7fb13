//! Any text as a categories file: an error that names a line, or the file's tables in their order.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/categories.rs"]
mod check;

fuzz_target!(|text: &str| check::holds(text));
