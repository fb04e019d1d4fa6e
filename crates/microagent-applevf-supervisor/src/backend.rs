//! The `apple-vf` backend as the supervisor sees it.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::rc::Rc;

use microagent_machine::{Capabilities, capabilities_of};
use microagent_supervisor::backend::{
    Backend, BackendError, ConfinementDemand, GuestAddresses, GuestDevice, HostFacts, HostNeeds,
    HostReady, LaunchSpec, Preparation, Versions,
};
use microagent_types::BackendName;
use microagent_types::env_vars::EnvVar;

use crate::calls::Framework;
use crate::config::{self, ROOT_IDENTIFIER};
use crate::host::{self, Findings, WrongHost};
use crate::preparation::ApplePreparation;

/// Exit status of the internal mode that this backend does not have.
const NO_SUCH_MODE: u8 = 2;

/// Virtualization.framework on this host.
pub struct AppleBackend {
    framework: Rc<dyn Framework>,
    found: Result<Findings, WrongHost>,
}

impl AppleBackend {
    /// With the framework of this host, which is looked at once and touched no further.
    pub fn new(framework: Box<dyn Framework>) -> Self {
        let found = framework.look();
        Self {
            framework: framework.into(),
            found,
        }
    }
}

impl Backend for AppleBackend {
    fn name(&self) -> BackendName {
        config::NAME
    }

    fn capabilities(&self) -> Capabilities {
        // Where an entitlement lacks, the check of the host refuses by name.
        capabilities_of(config::NAME)
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
        // The machine is in the monitor and goes with it: there is nothing that could stay behind.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn root_device(&self) -> GuestDevice {
        GuestDevice::Serial(ROOT_IDENTIFIER.to_owned())
    }

    fn data_device(&self, index: usize) -> GuestDevice {
        GuestDevice::Serial(config::data_identifier(index))
    }

    fn guest_addresses(&self, _dns: &[IpAddr]) -> GuestAddresses {
        GuestAddresses::Dhcp
    }

    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation> {
        let interfaces = match &self.found {
            Ok(found) => found.interfaces.clone(),
            Err(_) => Vec::new(),
        };
        Box::new(ApplePreparation::new(
            self.framework.clone(),
            spec,
            interfaces,
        ))
    }

    fn confined_exec(&self) -> ExitCode {
        ExitCode::from(NO_SUCH_MODE)
    }
}
