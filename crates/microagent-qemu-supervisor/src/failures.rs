//! Our errors as the supervisor takes them: what they mean to a caller, and what to do now.
//!
//! One place, so that the check before a start and the start itself say the same.

use std::error::Error;

use microagent_linux_host::confine::observe;
use microagent_linux_host::confine::plan::Refusal;
use microagent_linux_host::kvm::InvalidOverride;
use microagent_linux_host::program::ProgramError;
use microagent_linux_host::user_network::PASST;
use microagent_supervisor::backend::{BackendError, BackendErrorKind};

use crate::host::VSOCK_DEVICE;
use crate::vm::QEMU;

const CORRECT_QEMU: &str = "correct `MICROAGENT_QEMU`, or unset it to have QEMU looked for";
const INSTALL_QEMU: &str = "install QEMU (Debian: `qemu-system-x86` or `qemu-system-arm`), or name it in `MICROAGENT_QEMU`";
const INSTALL_VSOCK_DEVICE: &str = "install it with `cargo install vhost-device-vsock`";
const INSTALL_PASST: &str = "install the package `passt`, or use the network mode `isolated`";
const CORRECT_KVM: &str = "set `MICROAGENT_KVM` to on or off, or unset it";

/// QEMU was not found.
pub(crate) fn no_qemu(error: ProgramError) -> BackendError {
    let hint = match &error {
        ProgramError::NamedButAbsent { .. } => CORRECT_QEMU,
        ProgramError::Absent { .. } => INSTALL_QEMU,
    };
    unsupported(QEMU, error).with_hint(hint)
}

/// The vsock device was not found.
pub(crate) fn no_vsock_device(error: ProgramError) -> BackendError {
    unsupported(VSOCK_DEVICE, error).with_hint(INSTALL_VSOCK_DEVICE)
}

/// The network engine was not found.
pub(crate) fn no_passt(error: ProgramError) -> BackendError {
    unsupported(PASST, error).with_hint(INSTALL_PASST)
}

/// Confinement is demanded and incomplete.
pub(crate) fn unconfined(refusal: Refusal) -> BackendError {
    let hint = observe::way_out(&refusal);
    unsupported(QEMU, refusal).with_hint(hint)
}

/// The user's word on KVM means nothing.
pub(crate) fn unusable_override(error: InvalidOverride) -> BackendError {
    unsupported(QEMU, error).with_hint(CORRECT_KVM)
}

/// A program failed.
pub(crate) fn failed(
    component: &'static str,
    error: impl Into<Box<dyn Error + 'static>>,
) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, component, error)
}

/// This host or this version of a program can't.
pub(crate) fn unsupported(
    component: &'static str,
    error: impl Into<Box<dyn Error + 'static>>,
) -> BackendError {
    BackendError::new(BackendErrorKind::Unsupported, component, error)
}
