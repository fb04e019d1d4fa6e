//! The `windows-hyperv` backend as the supervisor sees it: it reports its host and refuses to start.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use microagent_machine::{Capabilities, capabilities_of};
use microagent_supervisor::backend::{
    Backend, BackendError, BackendErrorKind, ConfinementFacts, ConfinementReport, EngineFacts,
    GuestAddresses, GuestDevice, GuestListener, HostFacts, HostNeeds, HostReady, LaunchSpec,
    Launched, LocalFuture, NetworkMode, NetworkModeFacts, Preparation, Versions,
};
use microagent_types::{BackendName, VsockPort};

use crate::calls::Calls;

/// The name under which failures are reported.
const COMPONENT: &str = "host compute service";
const FEATURE: &str =
    "enable the Windows features `Hyper-V` and `Virtual Machine Platform`, then restart";
const ELEVATE: &str = "run it from a terminal that was opened with `Run as administrator`";
/// A wrong invocation.
const NO_SUCH_MODE: u8 = 2;
/// Data disks follow the root disk, which is unit 0.
const FIRST_DATA_LUN: u32 = 1;

/// Why no compute system can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Another operating system.
    #[error("compute systems run on Windows, and this host is none")]
    WrongHost,
    /// A part of Windows is switched off or missing.
    #[error("hostUnavailable: `{0}` is not there")]
    NoLibrary(&'static str),
    /// The rights do not suffice.
    #[error("compute systems need administrator rights")]
    NotAdministrator,
    /// What this build lacks.
    #[error("this build cannot launch compute systems yet")]
    NotBuilt,
}

impl Obstacle {
    fn error(self) -> BackendError {
        let kind = match self {
            Self::NotAdministrator => BackendErrorKind::Denied,
            Self::WrongHost | Self::NoLibrary(_) | Self::NotBuilt => BackendErrorKind::Unsupported,
        };
        let error = BackendError::new(kind, COMPONENT, self);
        match self {
            Self::NoLibrary(_) => error.with_hint(FEATURE),
            Self::NotAdministrator => error.with_hint(ELEVATE),
            Self::WrongHost | Self::NotBuilt => error,
        }
    }
}

/// Hyper-V on this host.
#[derive(Debug)]
pub struct HypervBackend<C> {
    calls: C,
}

impl<C: Calls> HypervBackend<C> {
    /// On the host that these calls reach.
    pub fn new(calls: C) -> Self {
        Self { calls }
    }

    /// Everything that stands in the way of a start, what a person can change first.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        if !self.calls.is_windows() {
            return vec![Obstacle::WrongHost];
        }
        let library = self.calls.missing_library().map(Obstacle::NoLibrary);
        let rights = self.calls.is_administrator() == Some(true);
        let rights = (!rights).then_some(Obstacle::NotAdministrator);
        library
            .into_iter()
            .chain(rights)
            .chain([Obstacle::NotBuilt])
            .collect()
    }
}

impl<C: Calls> Backend for HypervBackend<C> {
    fn name(&self) -> BackendName {
        BackendName::WindowsHyperv
    }

    fn capabilities(&self) -> Capabilities {
        capabilities_of(self.name())
    }

    fn host_facts(&self, _versions: Versions) -> HostFacts {
        let unavailable = self.obstacles().first().map(ToString::to_string);
        let bridged = "only `apple-vf` has it".to_owned();
        let mode = |mode, unavailable| NetworkModeFacts { mode, unavailable };
        HostFacts {
            os: std::env::consts::OS.to_owned(),
            os_version: String::new(),
            cpus: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
            memory_bytes: self.calls.memory_bytes(),
            engine: EngineFacts {
                unavailable: unavailable.clone(),
                binary: None,
                version: None,
            },
            kvm: None,
            accelerator: None,
            programs: Vec::new(),
            confinement: ConfinementFacts {
                required: false,
                parts: Vec::new(),
            },
            network_modes: vec![
                mode(NetworkMode::Nat, unavailable.clone()),
                mode(NetworkMode::Isolated, unavailable),
                mode(NetworkMode::Bridged, Some(bridged)),
            ],
            administrator: self.calls.is_administrator(),
            entitlements: None,
        }
    }

    fn check_host(&self, _needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>> {
        Err(self.obstacles().into_iter().map(Obstacle::error).collect())
    }

    fn isolate_next_child(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn root_device(&self) -> GuestDevice {
        GuestDevice::Lun(0)
    }

    fn data_device(&self, index: usize) -> GuestDevice {
        let index = u32::try_from(index).expect("there are at most eight data disks");
        GuestDevice::Lun(FIRST_DATA_LUN + index)
    }

    fn guest_addresses(&self, _dns: &[IpAddr]) -> GuestAddresses {
        GuestAddresses::Dhcp
    }

    fn prepare(&self, _spec: LaunchSpec) -> Box<dyn Preparation> {
        Box::new(Refused)
    }

    fn confined_exec(&self) -> ExitCode {
        ExitCode::from(NO_SUCH_MODE)
    }
}

/// A boot that the check of the host should have kept from coming this far.
struct Refused;

impl Preparation for Refused {
    fn listen(&mut self, _port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError> {
        Err(Obstacle::NotBuilt.error())
    }

    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Err(Obstacle::NotBuilt.error()) })
    }

    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>> {
        Box::pin(async { Err(Obstacle::NotBuilt.error()) })
    }

    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>> {
        Box::pin(async { Err(Obstacle::NotBuilt.error()) })
    }

    fn abandon(self: Box<Self>) -> LocalFuture<'static, ()> {
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use microagent_supervisor::backend::ConfinementDemand;

    struct Host {
        missing_library: Option<&'static str>,
        administrator: bool,
    }

    impl Calls for Host {
        fn missing_library(&self) -> Option<&'static str> {
            self.missing_library
        }
        fn is_administrator(&self) -> Option<bool> {
            Some(self.administrator)
        }
        fn memory_bytes(&self) -> u64 {
            8 << 30
        }
        fn is_windows(&self) -> bool {
            true
        }
    }

    fn refusals(backend: &impl Backend) -> Vec<(BackendErrorKind, bool)> {
        let needs = HostNeeds {
            network: NetworkMode::Nat,
            confinement: ConfinementDemand::Auto,
        };
        let errors = backend.check_host(&needs).unwrap_err();
        let told = |error: BackendError| (error.kind, error.hint.is_some());
        errors.into_iter().map(told).collect()
    }

    #[test]
    fn what_a_person_can_change_is_said_first_and_with_a_hint() {
        let host = Host {
            missing_library: Some("vmcompute.dll"),
            administrator: false,
        };
        let backend = HypervBackend::new(host);
        let expected = [
            (BackendErrorKind::Unsupported, true),
            (BackendErrorKind::Denied, true),
            (BackendErrorKind::Unsupported, false),
        ];
        assert_eq!(refusals(&backend), expected);
        let facts = backend.host_facts(Versions::LeftOut);
        let reason = facts.engine.unavailable.unwrap();
        assert_eq!(reason, "hostUnavailable: `vmcompute.dll` is not there");
        assert_eq!(facts.administrator, Some(false));
    }

    #[test]
    fn a_host_that_has_everything_is_refused_for_what_this_build_lacks() {
        let host = Host {
            missing_library: None,
            administrator: true,
        };
        let backend = HypervBackend::new(host);
        assert_eq!(refusals(&backend), [(BackendErrorKind::Unsupported, false)]);
        assert_eq!(backend.obstacles(), [Obstacle::NotBuilt]);
    }

    #[cfg(not(windows))]
    #[test]
    fn another_system_is_the_wrong_host() {
        let backend = HypervBackend::new(crate::host_compute::HostCompute);
        assert_eq!(backend.obstacles(), [Obstacle::WrongHost]);
    }
}
