//! What a backend can do on this host, as a value that admission asks.
//!
//! An ability that is missing is refused before anything is touched, never by a method that fails
//! while an act is under way.

use std::fmt;

/// What executes the guest's processor instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// Linux KVM.
    Kvm,
    /// Software emulation.
    Emulation,
    /// Apple's Virtualization.framework.
    Apple,
    /// Microsoft's Hyper-V.
    Hyperv,
}

impl Accelerator {
    /// Every accelerator.
    pub const ALL: [Self; 4] = [Self::Kvm, Self::Emulation, Self::Apple, Self::Hyperv];

    /// The word in messages and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulation => "emulation",
            Self::Apple => "apple",
            Self::Hyperv => "hyperv",
        }
    }

    /// The accelerator of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|accelerator| accelerator.as_str() == word)
    }

    /// True for emulation, whose deadlines are longer.
    pub const fn is_emulation(self) -> bool {
        matches!(self, Self::Emulation)
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The abilities of a backend on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Commands in a running guest.
    pub exec: bool,
    /// An interactive shell.
    pub connect: bool,
    /// Attaching to the serial port.
    pub serial_attach: bool,
    /// Published ports.
    pub publish: bool,
    /// Network mode `nat`.
    pub nat: bool,
    /// Network mode `isolated`.
    pub isolated: bool,
    /// Network mode `bridged`.
    pub bridged: bool,
    /// A mediation channel.
    pub mediation: bool,
    /// Pausing and resuming.
    pub pause: bool,
    /// Pausing within a quarantine.
    pub freeze: bool,
    /// Maintenance boots.
    pub maintenance_boot: bool,
    /// Confining the VMM.
    pub confinement: bool,
    /// Running without hardware virtualization.
    pub emulation: bool,
}
