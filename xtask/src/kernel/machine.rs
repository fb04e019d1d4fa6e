//! Which kernels there are: backends, architectures, and which of them go together.
//!
//! Names and pairs only. It must not know options or files beyond the name of a fragment.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A backend that has a kernel fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// QEMU's `microvm` machine.
    Qemu,
    /// Firecracker.
    Firecracker,
    /// Apple's Virtualization.framework.
    AppleVf,
    /// Hyper-V through the Host Compute Service.
    WindowsHyperv,
}

impl Backend {
    /// Every backend.
    pub(crate) const ALL: [Self; 4] = [
        Self::Qemu,
        Self::Firecracker,
        Self::AppleVf,
        Self::WindowsHyperv,
    ];

    /// Those of a Linux host, whose kernels every setup makes.
    pub(crate) const LINUX: [Self; 2] = [Self::Qemu, Self::Firecracker];

    /// Its name in paths and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
            Self::AppleVf => "apple-vf",
            Self::WindowsHyperv => "windows-hyperv",
        }
    }

    /// Architectures whose kernel this chore can make for it.
    pub(crate) fn arches(self) -> [Arch; 1] {
        match self {
            Self::Qemu | Self::Firecracker | Self::WindowsHyperv => [Arch::Amd64],
            Self::AppleVf => [Arch::Arm64],
        }
    }

    /// Whether there is a kernel of that architecture for it.
    pub(crate) fn runs(self, arch: Arch) -> bool {
        self.arches().contains(&arch)
    }

    /// The architecture that is meant when none is named.
    pub(crate) fn usual_arch(self) -> Result<Arch> {
        match self {
            Self::Qemu | Self::Firecracker => Arch::of_this_host(),
            Self::AppleVf | Self::WindowsHyperv => Ok(self.arches()[0]),
        }
    }
}

/// An architecture, named as images name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The architecture of this machine.
    pub(crate) fn of_this_host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            other => bail!("there is no kernel configuration for `{other}` yet; amd64 has one"),
        }
    }

    /// Its name in paths and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Its name in compilers and programs.
    pub(crate) fn machine_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The fragment in `guest/kernel` that is its own.
    pub(crate) fn fragment(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64.config",
            Self::Arm64 => "arm64.config",
        }
    }

    /// What the kernel's make calls it.
    pub(crate) fn kernel_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// Debian's compiler for it, on a machine of another kind.
    pub(crate) fn compiler_package(self) -> &'static str {
        match self {
            Self::Amd64 => "gcc-x86-64-linux-gnu",
            Self::Arm64 => "gcc-aarch64-linux-gnu",
        }
    }

    /// What stands before the names of the tools that make programs for it: nothing on a machine of
    /// its own kind.
    pub(crate) fn tool_prefix(self) -> String {
        if std::env::consts::ARCH == self.machine_name() {
            String::new()
        } else {
            format!("{}-linux-gnu-", self.machine_name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_has_a_kernel_and_a_name_of_its_own() {
        for backend in Backend::ALL {
            assert!(backend.arches().iter().all(|arch| backend.runs(*arch)));
            let same = |other: &&Backend| other.name() == backend.name();
            assert_eq!(Backend::ALL.iter().filter(same).count(), 1);
        }
        assert!(!Backend::AppleVf.runs(Arch::Amd64));
    }
}
