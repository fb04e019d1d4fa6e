//! The main of a Linux host: it names the backend. It must not decide anything, nor write to stdout.

use microagent_firecracker_supervisor::backend::FirecrackerBackend;
use std::process::ExitCode;

pub(super) fn main() -> ExitCode {
    microagent_supervisor::main(&FirecrackerBackend::from_environment())
}
