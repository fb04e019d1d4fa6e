//! Looks for inputs that break `checks/frames.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/frames.rs"]
mod check;

fuzz_target!(|bytes: &[u8]| check::check(bytes));
