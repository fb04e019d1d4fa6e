//! The `windows-hyperv` backend as the supervisor sees it.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use microagent_machine::{Capabilities, capabilities_of};
use microagent_supervisor::backend::{
    Backend, BackendError, ConfinementDemand, GuestAddresses, GuestDevice, HostFacts, HostNeeds,
    HostReady, LaunchSpec, Preparation, Versions,
};
use microagent_types::BackendName;
use microagent_types::env_vars::EnvVar;

use crate::calls::{Host, Sockets};
use crate::failures;
use crate::host::{self, Findings, WrongHost};
use crate::preparation::HypervPreparation;

/// A wrong invocation.
const NO_SUCH_MODE: u8 = 2;
/// Data disks follow the root disk, which is unit 0.
const FIRST_DATA_LUN: u32 = 1;

/// Hyper-V on this host.
pub struct HypervBackend {
    host: Arc<dyn Host>,
    sockets: Arc<dyn Sockets>,
    found: Result<Findings, WrongHost>,
}

impl HypervBackend {
    /// On the host that these calls reach, which is looked at once.
    pub fn new(host: Arc<dyn Host>, sockets: Arc<dyn Sockets>) -> Self {
        let found = host.look();
        Self {
            host,
            sockets,
            found,
        }
    }
}

impl Backend for HypervBackend {
    fn name(&self) -> BackendName {
        BackendName::WindowsHyperv
    }

    fn capabilities(&self) -> Capabilities {
        capabilities_of(BackendName::WindowsHyperv)
    }

    fn host_facts(&self, _versions: Versions) -> HostFacts {
        // A word that means nothing is refused before a start; a report shows the default.
        let demand = ConfinementDemand::from_word(EnvVar::Confinement.read().as_deref());
        host::facts(&self.found, demand.unwrap_or_default())
    }

    fn check_host(&self, needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>> {
        host::check(&self.found, *needs)
    }

    fn isolate_next_child(&self) -> io::Result<()> {
        // The system ends with the last handle of it, which the monitor has: nothing could stay behind.
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
        // Each boot's own are told by the network, and then by its VM.
        GuestAddresses::Dhcp
    }

    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation> {
        Box::new(HypervPreparation::new(
            self.host.clone(),
            self.sockets.clone(),
            spec,
        ))
    }

    fn system_lives(&self, id: &str) -> Option<bool> {
        match self.host.open(id) {
            Ok(_) => Some(true),
            Err(error) if error.says_gone() => Some(false),
            Err(error) => {
                tracing::warn!(%error, "whether the compute system lives can't be told");
                None
            }
        }
    }

    fn end_system(&self, id: &str) -> Result<(), BackendError> {
        let ended = self.host.open(id).and_then(|system| system.terminate());
        match ended {
            Ok(_) => Ok(()),
            Err(error) if error.says_gone() => Ok(()),
            Err(error) => Err(failures::call(error)),
        }
    }

    fn confined_exec(&self) -> ExitCode {
        ExitCode::from(NO_SUCH_MODE)
    }
}
