//! Any configuration and any list of tensors: a sentence, or sizes that go together and are not beyond all bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/model.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::holds(input));
