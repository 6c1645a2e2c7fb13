//! Any text as a category, a prompt, nouns or a question: a model refuses it in words, or asks it without letting it speak
//! for the template.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/prompts.rs"]
mod check;

fuzz_target!(|text: &str| check::holds(text));
