//! This backend runs on macOS; a system without Unix sockets does not even ask for it.

use std::process::ExitCode;

/// A wrong invocation.
const WRONG_HOST: u8 = 2;

pub(super) fn main() -> ExitCode {
    ExitCode::from(WRONG_HOST)
}
