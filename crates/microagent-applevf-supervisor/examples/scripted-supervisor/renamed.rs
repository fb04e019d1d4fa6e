//! The backend under another name where a guest of this host's architecture has no `apple-vf`: names choose
//! the kernel's command line, and on x86-64 there is none for it.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use microagent_applevf_supervisor::backend::AppleBackend;
use microagent_applevf_supervisor::calls::Framework;
use microagent_machine::Capabilities;
use microagent_supervisor::backend::{
    Backend, BackendError, GuestAddresses, GuestDevice, HostFacts, HostNeeds, HostReady,
    LaunchSpec, Preparation, Versions,
};
use microagent_types::{Arch, BackendName};

pub(crate) struct Renamed(AppleBackend);

impl Renamed {
    pub(crate) fn new(framework: Box<dyn Framework>) -> Self {
        Self(AppleBackend::new(framework))
    }
}

impl Backend for Renamed {
    fn name(&self) -> BackendName {
        match Arch::current() {
            Some(Arch::Arm64) => self.0.name(),
            Some(Arch::Amd64) | None => BackendName::Qemu,
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn host_facts(&self, versions: Versions) -> HostFacts {
        self.0.host_facts(versions)
    }

    fn check_host(&self, needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>> {
        self.0.check_host(needs)
    }

    fn isolate_next_child(&self) -> io::Result<()> {
        self.0.isolate_next_child()
    }

    fn root_device(&self) -> GuestDevice {
        self.0.root_device()
    }

    fn data_device(&self, index: usize) -> GuestDevice {
        self.0.data_device(index)
    }

    fn guest_addresses(&self, dns: &[IpAddr]) -> GuestAddresses {
        self.0.guest_addresses(dns)
    }

    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation> {
        self.0.prepare(spec)
    }

    fn confined_exec(&self) -> ExitCode {
        self.0.confined_exec()
    }
}
