//! The main of a Linux host: it names the backend. It must not decide anything, nor write to stdout.

use microagent_qemu_supervisor::backend::QemuBackend;
use std::process::ExitCode;

pub(super) fn main() -> ExitCode {
    microagent_supervisor::main(&QemuBackend::from_environment())
}
