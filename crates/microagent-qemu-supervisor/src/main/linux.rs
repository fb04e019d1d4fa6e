//! The main of a Linux host.

use microagent_qemu_supervisor::backend::QemuBackend;
use std::process::ExitCode;

pub(super) fn main() -> ExitCode {
    microagent_supervisor::main(&QemuBackend::from_environment())
}
