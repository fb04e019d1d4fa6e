//! What each of the four backends can do: the one table that refuses an act before anything is done,
//! that `doctor` shows, and that the reference page is made from.
//!
//! A row is one ability, a column one backend. It says what a backend does, not whether this host has
//! what it needs for it: that is the host report's.

use microagent_types::BackendName;

use crate::capability::{Capabilities, Capability};

/// The backend has it.
const YES: bool = true;
/// It does not, and an act that needs it is refused.
const NO: bool = false;

/// The columns, in order.
pub const BACKENDS: [BackendName; 4] = [
    BackendName::Firecracker,
    BackendName::Qemu,
    BackendName::AppleVf,
    BackendName::WindowsHyperv,
];

/// The rows.
#[rustfmt::skip]
pub const TABLE: [(Capability, [bool; 4]); 13] = [
    (Capability::Exec, [YES, YES, YES, YES]),
    (Capability::Connect, [YES, YES, YES, YES]),
    (Capability::SerialAttach, [YES, YES, YES, NO]),
    (Capability::Publish, [YES, YES, YES, YES]),
    (Capability::Nat, [YES, YES, YES, YES]),
    (Capability::Isolated, [YES, YES, YES, YES]),
    (Capability::Bridged, [NO, NO, YES, NO]),
    (Capability::Mediation, [YES, YES, YES, YES]),
    (Capability::Pause, [YES, YES, YES, NO]),
    (Capability::Freeze, [YES, YES, YES, NO]),
    (Capability::MaintenanceBoot, [YES, YES, YES, YES]),
    (Capability::Confinement, [YES, YES, NO, NO]),
    (Capability::Emulation, [NO, YES, NO, NO]),
];

/// The abilities of a backend.
pub fn capabilities_of(backend: BackendName) -> Capabilities {
    let column = BACKENDS.iter().position(|name| *name == backend);
    let has = |wanted: Capability| {
        TABLE
            .iter()
            .any(|(capability, has)| *capability == wanted && column.is_some_and(|at| has[at]))
    };
    Capabilities {
        exec: has(Capability::Exec),
        connect: has(Capability::Connect),
        serial_attach: has(Capability::SerialAttach),
        publish: has(Capability::Publish),
        nat: has(Capability::Nat),
        isolated: has(Capability::Isolated),
        bridged: has(Capability::Bridged),
        mediation: has(Capability::Mediation),
        pause: has(Capability::Pause),
        freeze: has(Capability::Freeze),
        maintenance_boot: has(Capability::MaintenanceBoot),
        confinement: has(Capability::Confinement),
        emulation: has(Capability::Emulation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ability_and_every_backend_has_its_place() {
        assert_eq!(TABLE.map(|(capability, _)| capability), Capability::ALL);
        assert_eq!(BACKENDS, BackendName::ALL);
        for (capability, has) in TABLE {
            for (backend, has) in BACKENDS.into_iter().zip(has) {
                assert_eq!(capabilities_of(backend).has(capability), has, "{backend}");
            }
        }
    }

    #[test]
    fn what_only_some_can_is_known_of_each() {
        let hyperv = capabilities_of(BackendName::WindowsHyperv);
        assert!(hyperv.exec && !hyperv.serial_attach && !hyperv.pause && !hyperv.freeze);
        let only_bridged = |name: &BackendName| capabilities_of(*name).bridged;
        assert_eq!(BACKENDS.iter().filter(|name| only_bridged(name)).count(), 1);
    }
}
