//! Any text as a reference, under tables on disk, in buckets and on servers: what is relative stays below its table.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/reference.rs"]
mod check;

fuzz_target!(|text: &str| check::holds(text));
