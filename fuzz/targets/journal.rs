//! Any text as a manifest or a record of a journal: what it names is below the output, or is not of the form that is taken.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/journal.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::holds(input));
