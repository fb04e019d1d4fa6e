//! What a host has for this backend, and what follows from it. Pure: the host is asked elsewhere.

use microagent_machine::Accelerator;
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, ConfinementDemand, ConfinementFacts, EngineFacts, HostFacts,
    HostNeeds, HostReady, NetworkMode, NetworkModeFacts,
};
use microagent_types::ByteSize;

/// The name under which failures are reported.
pub const COMPONENT: &str = "host compute service";
/// The library of compute systems.
pub const COMPUTE_LIBRARY: &str = "vmcompute.dll";
/// The library of the networks that they are attached to.
pub const NETWORK_LIBRARY: &str = "computenetwork.dll";

const FEATURE: &str =
    "enable the Windows features `Hyper-V` and `Virtual Machine Platform`, then restart";
const ELEVATE: &str = "run it from a terminal that was opened with `Run as administrator`";
const NEEDED_HOST: &str = "Windows 10 or newer with Hyper-V is needed";
const OTHER_MODE: &str = "use the network mode `nat` or `isolated`";
const ALLOW_LESS: &str =
    "microagent doctor says what is missing and why; or unset MICROAGENT_CONFINEMENT";

/// A host without the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("compute systems run on Windows, and this host is another system")]
pub struct WrongHost;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Version of Windows.
    pub os_version: String,
    /// Bytes of memory of the host.
    pub memory_bytes: u64,
    /// Which of the system's libraries is missing.
    pub missing_library: Option<&'static str>,
    /// Whether this process has the rights of an administrator; none when it can't be told.
    pub is_administrator: Option<bool>,
}

/// Why no compute system can be started, or none with that network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Another operating system.
    #[error(transparent)]
    WrongHost(WrongHost),
    /// A part of Windows is switched off or missing.
    #[error("hostUnavailable: `{0}` is not there")]
    NoLibrary(&'static str),
    /// The rights do not suffice.
    #[error("compute systems need administrator rights")]
    NotAdministrator,
    /// A mode of another backend.
    #[error("the network mode `bridged` is one of `apple-vf` alone")]
    NoBridge,
    /// There is no confinement to have.
    #[error(
        "confinement is required, and on Windows a VM runs in a worker process of the system with \
         none of ours"
    )]
    NoConfinement,
}

impl Obstacle {
    fn error(self) -> BackendError {
        let (kind, hint) = match self {
            Self::NotAdministrator => (BackendErrorKind::Denied, ELEVATE),
            Self::WrongHost(_) => (BackendErrorKind::Unsupported, NEEDED_HOST),
            Self::NoLibrary(_) => (BackendErrorKind::Unsupported, FEATURE),
            Self::NoBridge => (BackendErrorKind::Unsupported, OTHER_MODE),
            Self::NoConfinement => (BackendErrorKind::Unsupported, ALLOW_LESS),
        };
        BackendError::new(kind, COMPONENT, self).with_hint(hint)
    }
}

/// Why no compute system at all can be started, what a person can change first.
pub fn obstacles(found: &Result<Findings, WrongHost>) -> Vec<Obstacle> {
    match found {
        Err(wrong) => vec![Obstacle::WrongHost(*wrong)],
        Ok(found) => {
            let library = found.missing_library.map(Obstacle::NoLibrary);
            let may = found.is_administrator == Some(true);
            let rights = (!may).then_some(Obstacle::NotAdministrator);
            library.into_iter().chain(rights).collect()
        }
    }
}

/// Whether a compute system could be started now.
pub fn check(
    found: &Result<Findings, WrongHost>,
    needs: HostNeeds,
) -> Result<HostReady, Vec<BackendError>> {
    let mut obstacles = obstacles(found);
    if needs.network == NetworkMode::Bridged {
        obstacles.push(Obstacle::NoBridge);
    }
    if needs.confinement == ConfinementDemand::Required {
        obstacles.push(Obstacle::NoConfinement);
    }
    match found {
        Ok(found) if obstacles.is_empty() => Ok(HostReady {
            accelerator: Accelerator::Hyperv,
            host_memory: ByteSize::from_bytes(found.memory_bytes),
            engine_version: Some(found.os_version.clone()),
            warnings: Vec::new(),
        }),
        _ => Err(obstacles.into_iter().map(Obstacle::error).collect()),
    }
}

/// Everything that `host` tells.
pub fn facts(found: &Result<Findings, WrongHost>, demand: ConfinementDemand) -> HostFacts {
    let unavailable = obstacles(found).first().map(ToString::to_string);
    let known = found.as_ref().ok();
    let mode = |mode, unavailable| NetworkModeFacts { mode, unavailable };
    HostFacts {
        os: known.map_or(std::env::consts::OS, |_| "windows").to_owned(),
        os_version: known.map_or_else(String::new, |found| found.os_version.clone()),
        cpus: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_bytes: known.map_or(0, |found| found.memory_bytes),
        accelerator: unavailable.is_none().then_some(Accelerator::Hyperv),
        network_modes: vec![
            mode(NetworkMode::Nat, unavailable.clone()),
            mode(NetworkMode::Isolated, unavailable.clone()),
            mode(NetworkMode::Bridged, Some(Obstacle::NoBridge.to_string())),
        ],
        engine: EngineFacts {
            unavailable,
            binary: None,
            version: known.map(|found| found.os_version.clone()),
        },
        kvm: None,
        programs: Vec::new(),
        confinement: ConfinementFacts {
            required: demand == ConfinementDemand::Required,
            parts: Vec::new(),
        },
        administrator: known.and_then(|found| found.is_administrator),
        entitlements: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Findings {
        Findings {
            os_version: "10.0.26100".to_owned(),
            memory_bytes: 8 << 30,
            missing_library: None,
            is_administrator: Some(true),
        }
    }

    fn needs(network: NetworkMode) -> HostNeeds {
        HostNeeds {
            network,
            confinement: ConfinementDemand::Auto,
        }
    }

    fn refusals(found: Result<Findings, WrongHost>, needs: HostNeeds) -> Vec<BackendErrorKind> {
        let errors = check(&found, needs).unwrap_err();
        assert!(errors.iter().all(|error| error.hint.is_some()));
        errors.into_iter().map(|error| error.kind).collect()
    }

    #[test]
    fn a_host_that_has_everything_is_ready_with_a_network_and_without() {
        for mode in [NetworkMode::Nat, NetworkMode::Isolated] {
            let ready = check(&Ok(ready()), needs(mode)).unwrap();
            assert_eq!(ready.accelerator, Accelerator::Hyperv);
        }
        let facts = facts(&Ok(ready()), ConfinementDemand::Auto);
        assert_eq!(facts.engine.unavailable, None);
        assert_eq!(facts.administrator, Some(true));
    }

    #[test]
    fn what_a_person_can_change_is_said_first_and_with_a_hint() {
        let found = Findings {
            missing_library: Some(COMPUTE_LIBRARY),
            is_administrator: Some(false),
            ..ready()
        };
        let reason = facts(&Ok(found.clone()), ConfinementDemand::Auto);
        let reason = reason.engine.unavailable.unwrap();
        assert_eq!(reason, "hostUnavailable: `vmcompute.dll` is not there");
        let kinds = [BackendErrorKind::Unsupported, BackendErrorKind::Denied];
        assert_eq!(refusals(Ok(found), needs(NetworkMode::Nat)), kinds);
    }

    #[test]
    fn rights_that_cannot_be_told_are_rights_that_are_missing() {
        for is_administrator in [Some(false), None] {
            let found = Findings {
                is_administrator,
                ..ready()
            };
            let kinds = refusals(Ok(found), needs(NetworkMode::Isolated));
            assert_eq!(kinds, [BackendErrorKind::Denied]);
        }
    }

    #[test]
    fn a_bridge_required_confinement_and_another_system_are_refused() {
        let unsupported = [BackendErrorKind::Unsupported];
        assert_eq!(
            refusals(Ok(ready()), needs(NetworkMode::Bridged)),
            unsupported
        );
        let confined = HostNeeds {
            confinement: ConfinementDemand::Required,
            ..needs(NetworkMode::Nat)
        };
        assert_eq!(refusals(Ok(ready()), confined), unsupported);
        assert_eq!(
            refusals(Err(WrongHost), needs(NetworkMode::Nat)),
            unsupported
        );
    }
}
