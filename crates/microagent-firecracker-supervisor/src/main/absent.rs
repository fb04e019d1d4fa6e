//! This backend runs on Linux; elsewhere the executable is not shipped and does nothing.

use std::process::ExitCode;

/// A wrong invocation.
const WRONG_HOST: u8 = 2;

pub(super) fn main() -> ExitCode {
    ExitCode::from(WRONG_HOST)
}
