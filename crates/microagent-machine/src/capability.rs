//! What a backend can do, as a value that one can ask for.
//!
//! A backend that lacks an ability is refused in admission, before anything is done, never by a
//! method that fails at run time.

use std::fmt;

use crate::spec::{MachineSpec, NetworkMode};
use crate::verb::{Freeze, SessionKind, Verb};
use crate::words::words;

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

words! {
    /// One ability.
    Capability, "a capability";
    /// Running a command in the guest.
    Exec => "exec",
    /// A shell in the guest.
    Connect => "connect",
    /// The serial console, both ways.
    SerialAttach => "serialAttach",
    /// TCP ports of the guest on the host.
    Publish => "publish",
    /// Outbound network by address translation.
    Nat => "nat",
    /// No network at all.
    Isolated => "isolated",
    /// A network interface on the host's own network.
    Bridged => "bridged",
    /// The mediation channel.
    Mediation => "mediation",
    /// Stopping vCPUs and letting them go on.
    Pause => "pause",
    /// Stopping vCPUs in a quarantine.
    Freeze => "freeze",
    /// A boot for copies only.
    MaintenanceBoot => "maintenanceBoot",
    /// Confinement of the VMM.
    Confinement => "confinement",
    /// Running without hardware virtualization.
    Emulation => "emulation",
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

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self {
        exec: false,
        connect: false,
        serial_attach: false,
        publish: false,
        nat: false,
        isolated: false,
        bridged: false,
        mediation: false,
        pause: false,
        freeze: false,
        maintenance_boot: false,
        confinement: false,
        emulation: false,
    };

    /// Whether it is there.
    pub const fn has(self, capability: Capability) -> bool {
        match capability {
            Capability::Exec => self.exec,
            Capability::Connect => self.connect,
            Capability::SerialAttach => self.serial_attach,
            Capability::Publish => self.publish,
            Capability::Nat => self.nat,
            Capability::Isolated => self.isolated,
            Capability::Bridged => self.bridged,
            Capability::Mediation => self.mediation,
            Capability::Pause => self.pause,
            Capability::Freeze => self.freeze,
            Capability::MaintenanceBoot => self.maintenance_boot,
            Capability::Confinement => self.confinement,
            Capability::Emulation => self.emulation,
        }
    }

    /// What is needed and lacking.
    pub fn lacking(self, needed: &[Capability]) -> Vec<Capability> {
        needed
            .iter()
            .copied()
            .filter(|capability| !self.has(*capability))
            .collect()
    }
}

/// What an act needs beyond being able to run a VM at all.
pub fn needed_by_verb(verb: Verb) -> &'static [Capability] {
    match verb {
        Verb::Session(SessionKind::Exec) => &[Capability::Exec],
        Verb::Session(SessionKind::Shell) => &[Capability::Connect],
        Verb::Serial => &[Capability::SerialAttach],
        Verb::Pause | Verb::Resume => &[Capability::Pause],
        Verb::Quarantine(Freeze::Yes) => &[Capability::Freeze],
        Verb::Maintenance => &[Capability::MaintenanceBoot],
        Verb::Prepare
        | Verb::Start
        | Verb::Run
        | Verb::Inspect
        | Verb::Copy
        | Verb::Halt
        | Verb::Stop
        | Verb::Kill
        | Verb::Quarantine(Freeze::No)
        | Verb::Delete
        | Verb::Reconcile => &[],
    }
}

/// What a spec needs of the backend that is to run it.
pub fn needed_by_spec(spec: &MachineSpec) -> Vec<Capability> {
    let mut needed = vec![match spec.network.mode {
        NetworkMode::Nat => Capability::Nat,
        NetworkMode::Isolated => Capability::Isolated,
        NetworkMode::Bridged => Capability::Bridged,
    }];
    if !spec.network.publish.is_empty() {
        needed.push(Capability::Publish);
    }
    if spec.mediation.is_some() {
        needed.push(Capability::Mediation);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_BUT_FREEZE: Capabilities = Capabilities {
        exec: true,
        connect: true,
        serial_attach: true,
        publish: true,
        nat: true,
        isolated: true,
        bridged: true,
        mediation: true,
        pause: true,
        freeze: false,
        maintenance_boot: true,
        confinement: true,
        emulation: true,
    };

    #[test]
    fn what_lacks_is_named() {
        let needed = needed_by_verb(Verb::Quarantine(Freeze::Yes));
        assert_eq!(ALL_BUT_FREEZE.lacking(needed), [Capability::Freeze]);
        let needed = needed_by_verb(Verb::Quarantine(Freeze::No));
        assert!(ALL_BUT_FREEZE.lacking(needed).is_empty());
        assert_eq!(
            ALL_BUT_FREEZE.lacking(Capability::ALL),
            [Capability::Freeze]
        );
        assert_eq!(Capabilities::NONE.lacking(Capability::ALL), Capability::ALL);
    }

    #[test]
    fn every_accelerator_is_read_back() {
        for accelerator in Accelerator::ALL {
            assert_eq!(
                Accelerator::from_word(accelerator.as_str()),
                Some(accelerator)
            );
        }
        assert_eq!(Accelerator::from_word("xen"), None);
    }
}
