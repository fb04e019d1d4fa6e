//! The `qemu` backend as the supervisor sees it.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::rc::Rc;

use microagent_linux_host::confine::exec::{ConfinedExecError, confined_exec};
use microagent_linux_host::confine::{observe, plan};
use microagent_linux_host::user_network;
use microagent_machine::{Accelerator, Capabilities, capabilities_of};
use microagent_os::process;
use microagent_supervisor::backend::{
    Backend, BackendError, GuestAddresses, GuestDevice, HostFacts, HostNeeds, HostReady,
    LaunchSpec, NetworkMode, Preparation, Versions,
};
use microagent_types::{Arch, BackendName, ByteSize};

use crate::command_line::{FIRST_DATA_LUN, ROOT_SERIAL};
use crate::failures;
use crate::host::{self, Tools};
use crate::overlay;
use crate::preparation::QemuPreparation;

/// Exit status of the internal mode when nobody but a person started it.
const NOT_INHERITED: u8 = 2;
/// Exit status of the internal mode when it did not become QEMU.
const FAILED: u8 = 1;

/// QEMU on this host.
#[derive(Debug)]
pub struct QemuBackend {
    tools: Rc<Tools>,
}

impl QemuBackend {
    /// For this host, with the user's words from the environment. Touches nothing else.
    pub fn from_environment() -> Self {
        // A host of another architecture has no VMM by that name, and that is the refusal.
        let arch = Arch::current().unwrap_or(Arch::Amd64);
        Self {
            tools: Rc::new(Tools::from_environment(arch)),
        }
    }
}

impl Backend for QemuBackend {
    fn name(&self) -> BackendName {
        BackendName::Qemu
    }

    fn capabilities(&self) -> Capabilities {
        capabilities_of(self.name())
    }

    fn host_facts(&self, versions: Versions) -> HostFacts {
        host::host_facts(&self.tools, versions)
    }

    fn check_host(&self, needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>> {
        let mut problems = Vec::new();
        problems.extend(self.tools.qemu().err().map(failures::no_qemu));
        let vsock_device = self.tools.vsock_device();
        problems.extend(vsock_device.err().map(failures::no_vsock_device));
        if needs.network == NetworkMode::Nat {
            problems.extend(self.tools.passt().err().map(failures::no_passt));
        }
        let plan = plan::plan(&observe::host_facts(), needs.confinement);
        problems.extend(plan.err().map(failures::unconfined));
        let accelerator = self.tools.accelerator().unwrap_or_else(|error| {
            problems.push(failures::unusable_override(error));
            Accelerator::Emulation
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(HostReady {
            host_memory: ByteSize::from_bytes(microagent_linux_host::host_report::memory_bytes()),
            accelerator,
            // QEMU tells it when it starts; asking beforehand would cost a start of its own.
            engine_version: None,
            warnings: Vec::new(),
        })
    }

    fn isolate_next_child(&self) -> io::Result<()> {
        process::put_next_child_into_pid_namespace()
    }

    fn root_device(&self) -> GuestDevice {
        GuestDevice::Serial(ROOT_SERIAL.to_owned())
    }

    fn data_device(&self, index: usize) -> GuestDevice {
        let index = u32::try_from(index).expect("there are at most eight data disks");
        GuestDevice::Lun(FIRST_DATA_LUN + index)
    }

    fn guest_addresses(&self, dns: &[IpAddr]) -> GuestAddresses {
        user_network::guest_addresses(dns, user_network::host_has_ipv6_route())
    }

    fn overlay(&self, size: ByteSize) -> Option<Vec<u8>> {
        Some(overlay::empty(size))
    }

    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation> {
        Box::new(QemuPreparation::new(self.tools.clone(), spec))
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
