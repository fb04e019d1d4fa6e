//! What differs between backends, in one place: the cases are the same for all of them.

use anyhow::{Result, bail};

/// The backend under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Qemu,
    Firecracker,
}

impl Backend {
    /// From its name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "qemu" => Ok(Self::Qemu),
            "firecracker" => Ok(Self::Firecracker),
            _ => bail!("there are no cases for the backend `{name}`"),
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
        }
    }

    /// Its supervisor's program.
    pub(crate) fn supervisor(self) -> &'static str {
        match self {
            Self::Qemu => "microagent-qemu-supervisor",
            Self::Firecracker => "microagent-firecracker-supervisor",
        }
    }

    /// What the name of its VMM's program begins with.
    pub(crate) fn vmm(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system",
            Self::Firecracker => "firecracker",
        }
    }

    /// The program of the guest's vsock, where it is not the VMM's own.
    pub(crate) fn vsock_program(self) -> Option<&'static str> {
        match self {
            Self::Qemu => Some("vhost-device-vsock"),
            Self::Firecracker => None,
        }
    }
}
