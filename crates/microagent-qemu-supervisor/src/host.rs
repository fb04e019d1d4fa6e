//! What this host has for QEMU: its programs and KVM. Looked at here, and judged elsewhere.

use std::path::PathBuf;

use microagent_linux_host::host_report;
use microagent_linux_host::kvm::{self, KvmOverride, KvmVerdict};
use microagent_linux_host::program::{ProgramError, ProgramSearch};
use microagent_linux_host::user_network::PASST;
use microagent_machine::Accelerator;
use microagent_os::process;
use microagent_supervisor::backend::{EngineFacts, HostFacts, Versions};
use microagent_types::Arch;
use microagent_types::env_vars::EnvVar;

/// The vsock device's program.
pub(crate) const VSOCK_DEVICE: &str = "vhost-device-vsock";

/// Where programs are, and the user's words about them. Read once.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    arch: Arch,
    search: ProgramSearch,
    qemu: Option<String>,
    kvm: Option<String>,
}

impl Tools {
    /// From the environment.
    pub(crate) fn from_environment(arch: Arch) -> Self {
        let own = process::current_executable().unwrap_or_default();
        Self {
            arch,
            search: ProgramSearch::new(EnvVar::Path.read().unwrap_or_default(), &own),
            qemu: EnvVar::Qemu.read(),
            kvm: EnvVar::Kvm.read(),
        }
    }

    /// With programs in one folder and emulation, for tests.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: &std::path::Path) -> Self {
        let search_path = format!("{}:/usr/bin:/bin", folder.display());
        let qemu = folder.join("qemu");
        Self {
            arch: Arch::Amd64,
            search: ProgramSearch::new(search_path, &folder.join("supervisor")),
            qemu: qemu.to_str().map(str::to_owned),
            kvm: Some("off".to_owned()),
        }
    }

    /// The value of `PATH` that children get.
    pub(crate) fn search_path(&self) -> &str {
        self.search.search_path()
    }

    /// QEMU for this host's architecture.
    pub(crate) fn qemu(&self) -> Result<PathBuf, ProgramError> {
        let name = format!("qemu-system-{}", self.arch.machine_name());
        let named = self.qemu.as_deref();
        self.search
            .find(&name, named.map(|value| (EnvVar::Qemu.name(), value)))
    }

    /// The vsock device.
    pub(crate) fn vsock_device(&self) -> Result<PathBuf, ProgramError> {
        self.search.find(VSOCK_DEVICE, None)
    }

    /// The network engine.
    pub(crate) fn passt(&self) -> Result<PathBuf, ProgramError> {
        self.search.find(PASST, None)
    }

    /// KVM where it is usable, emulation where it is not. A value of `MICROAGENT_KVM` that means
    /// nothing is an error.
    pub(crate) fn accelerator(&self) -> Result<Accelerator, kvm::InvalidOverride> {
        let user: Option<KvmOverride> = self.kvm.as_deref().map(str::parse).transpose()?;
        Ok(match kvm::judge(&kvm::observe(self.arch), user) {
            KvmVerdict::Usable => Accelerator::Kvm,
            KvmVerdict::Unusable(_) => Accelerator::Emulation,
        })
    }
}

/// Everything that `host` tells. Asks three programs for their version, a second at most.
pub(crate) fn host_facts(tools: &Tools, versions: Versions) -> HostFacts {
    let qemu = tools.qemu();
    let vsock_device = tools.vsock_device();
    let passt = tools.passt();
    let [qemu_version, vsock_version, passt_version] = match versions {
        Versions::Asked => host_report::versions_of([&qemu, &vsock_device, &passt]),
        Versions::LeftOut => [None, None, None],
    };
    let accelerator = tools.accelerator();
    let unavailable = [
        qemu.as_ref().err().map(ToString::to_string),
        vsock_device.as_ref().err().map(ToString::to_string),
        accelerator.as_ref().err().map(ToString::to_string),
    ];
    let engine = EngineFacts {
        unavailable: unavailable.into_iter().flatten().next(),
        binary: qemu.as_deref().ok().and_then(host_report::abs_path),
        version: qemu_version,
    };
    HostFacts {
        os: "linux".to_owned(),
        os_version: host_report::os_version(),
        cpus: host_report::cpus(),
        memory_bytes: host_report::memory_bytes(),
        accelerator: accelerator.ok().filter(|_| engine.unavailable.is_none()),
        engine,
        kvm: Some(host_report::kvm_report(tools.arch, tools.kvm.as_deref())),
        programs: vec![
            host_report::program(
                VSOCK_DEVICE,
                "the guest's vsock",
                &vsock_device,
                vsock_version,
            ),
            host_report::program(PASST, "the network mode `nat`", &passt, passt_version),
        ],
        confinement: host_report::confinement(),
        network_modes: host_report::network_modes(&passt),
        administrator: None,
        entitlements: None,
    }
}
