//! The `firecracker` backend as the supervisor sees it.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::rc::Rc;

use microagent_linux_host::confine::exec::{ConfinedExecError, confined_exec};
use microagent_linux_host::confine::{observe, plan};
use microagent_linux_host::user_network::{self, PASST};
use microagent_machine::{Accelerator, Capabilities, capabilities_of};
use microagent_os::process;
use microagent_supervisor::backend::{
    Backend, BackendError, BackendErrorKind, GuestAddresses, GuestDevice, HostFacts, HostNeeds,
    HostReady, LaunchSpec, NetworkMode, Preparation, Versions,
};
use microagent_types::{Arch, BackendName, ByteSize};

use crate::config;
use crate::host::{self, FIRECRACKER, FIRECRACKER_HINT, KVM_HINT, PASST_HINT, Tools};
use crate::preparation::FirecrackerPreparation;

/// Exit status of the internal mode when nobody but a person started it.
const NOT_INHERITED: u8 = 2;
/// Exit status of the internal mode when it did not become Firecracker.
const FAILED: u8 = 1;

/// Firecracker on this host.
#[derive(Debug)]
pub struct FirecrackerBackend {
    tools: Rc<Tools>,
}

impl FirecrackerBackend {
    /// For this host, with the user's words from the environment. Touches nothing else.
    pub fn from_environment() -> Self {
        // A host of another architecture has no usable KVM, and that is the refusal.
        let arch = Arch::current().unwrap_or(Arch::Amd64);
        Self {
            tools: Rc::new(Tools::from_environment(arch)),
        }
    }
}

impl Backend for FirecrackerBackend {
    fn name(&self) -> BackendName {
        BackendName::Firecracker
    }

    fn capabilities(&self) -> Capabilities {
        capabilities_of(self.name())
    }

    fn host_facts(&self, versions: Versions) -> HostFacts {
        host::host_facts(&self.tools, versions)
    }

    fn check_host(&self, needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>> {
        let mut problems = Vec::new();
        let unsupported = |component, error: Box<dyn std::error::Error>| {
            BackendError::new(BackendErrorKind::Unsupported, component, error)
        };
        if let Err(error) = self.tools.firecracker() {
            problems.push(unsupported(FIRECRACKER, error.into()).with_hint(FIRECRACKER_HINT));
        }
        if let Err(error) = self.tools.check_kvm() {
            problems.push(unsupported(FIRECRACKER, error.into()).with_hint(KVM_HINT));
        }
        if needs.network == NetworkMode::Nat
            && let Err(error) = self.tools.passt()
        {
            problems.push(unsupported(PASST, error.into()).with_hint(PASST_HINT));
        }
        if let Err(error) = plan::plan(&observe::host_facts(), needs.confinement) {
            let hint = observe::way_out(&error);
            problems.push(unsupported(FIRECRACKER, error.into()).with_hint(hint));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(HostReady {
            host_memory: ByteSize::from_bytes(microagent_linux_host::host_report::memory_bytes()),
            accelerator: Accelerator::Kvm,
            // It tells it over its API; asking beforehand would cost a start of its own.
            engine_version: None,
            warnings: Vec::new(),
        })
    }

    fn isolate_next_child(&self) -> io::Result<()> {
        process::put_next_child_into_pid_namespace()
    }

    fn root_device(&self) -> GuestDevice {
        GuestDevice::Path(config::device_node(0))
    }

    fn data_device(&self, index: usize) -> GuestDevice {
        GuestDevice::Path(config::device_node(index + 1))
    }

    fn guest_addresses(&self, dns: &[IpAddr]) -> GuestAddresses {
        user_network::guest_addresses(dns, user_network::host_has_ipv6_route())
    }

    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation> {
        Box::new(FirecrackerPreparation::new(self.tools.clone(), spec))
    }

    fn confined_exec(&self) -> ExitCode {
        let error = confined_exec();
        let code = match &error {
            ConfinedExecError::NotInherited => NOT_INHERITED,
            _ => FAILED,
        };
        let causes: Vec<String> =
            std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
                error.source()
            })
            .map(ToString::to_string)
            .collect();
        // The monitor reads it as the program's last words. If it can't be written, the exit status
        // is left.
        let _ = writeln!(io::stderr(), "{}", causes.join(": "));
        ExitCode::from(code)
    }
}
