//! Looks for inputs that break `checks/list.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/list.rs"]
mod check;

fuzz_target!(|bytes: &[u8]| check::check(bytes));
