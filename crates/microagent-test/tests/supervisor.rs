//! The suite of the protocol, asked of the fake backend.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files and processes from outside, and unwraps as tests do"
)]

#[path = "suite/mod.rs"]
mod suite;

use std::path::PathBuf;

fn supervisor() -> PathBuf {
    env!("CARGO_BIN_EXE_microagent-fake-supervisor").into()
}
