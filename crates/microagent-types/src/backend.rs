//! The four backends by name, and which host runs which.

use crate::text_form::{InvalidText, text_form};
use std::fmt;

/// How a host runs VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendName {
    /// Firecracker on Linux with KVM.
    Firecracker,
    /// QEMU on Linux, with KVM or by emulation.
    Qemu,
    /// Virtualization.framework on macOS.
    AppleVf,
    /// Host Compute Service on Windows.
    WindowsHyperv,
}

/// The operating system of a host, as far as the choice of a backend goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostOs {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl HostOs {
    /// The operating system this program was built for; `None` on one that runs no backend.
    pub fn current() -> Option<Self> {
        match std::env::consts::OS {
            "linux" => Some(Self::Linux),
            "macos" => Some(Self::MacOs),
            "windows" => Some(Self::Windows),
            _ => None,
        }
    }
}

impl BackendName {
    /// All of them, in order of preference on their hosts.
    pub const ALL: [Self; 4] = [
        Self::Firecracker,
        Self::Qemu,
        Self::AppleVf,
        Self::WindowsHyperv,
    ];

    /// The name as it is typed, stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
            Self::AppleVf => "apple-vf",
            Self::WindowsHyperv => "windows-hyperv",
        }
    }

    /// The operating system that runs it.
    pub const fn host_os(self) -> HostOs {
        match self {
            Self::Firecracker | Self::Qemu => HostOs::Linux,
            Self::AppleVf => HostOs::MacOs,
            Self::WindowsHyperv => HostOs::Windows,
        }
    }

    /// The file name of its supervisor executable, without `.exe`.
    pub const fn supervisor_program(self) -> &'static str {
        match self {
            Self::Firecracker => "microagent-firecracker-supervisor",
            Self::Qemu => "microagent-qemu-supervisor",
            Self::AppleVf => "microagent-applevf-supervisor",
            Self::WindowsHyperv => "microagent-hyperv-supervisor",
        }
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.as_str() == text)
            .ok_or_else(|| {
                InvalidText::new(
                    "a backend",
                    text,
                    "the backends are firecracker, qemu, apple-vf and windows-hyperv",
                )
            })
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

text_form!(BackendName);

#[cfg(test)]
mod tests {
    use super::BackendName;

    #[test]
    fn every_backend_reads_back_and_nothing_else_does() {
        for backend in BackendName::ALL {
            assert_eq!(backend.to_string().parse::<BackendName>().unwrap(), backend);
        }
        assert!("QEMU".parse::<BackendName>().is_err());
    }
}
