//! What this host has for Firecracker: the program, KVM, the network engine. Looked at here, and
//! judged elsewhere.

use std::path::PathBuf;

use microagent_linux_host::host_report;
use microagent_linux_host::kvm::{self, KvmObstacle, KvmOverride, KvmVerdict};
use microagent_linux_host::program::{ProgramError, ProgramSearch};
use microagent_linux_host::user_network::PASST;
use microagent_machine::Accelerator;
use microagent_os::process;
use microagent_supervisor::backend::{EngineFacts, HostFacts, Versions};
use microagent_types::Arch;
use microagent_types::env_vars::EnvVar;

use crate::version::{FirecrackerVersion, NoVersion, UnsupportedVersion};

/// The program, also in reports.
pub(crate) const FIRECRACKER: &str = "firecracker";
/// What a person can do about a missing `passt`.
pub(crate) const PASST_HINT: &str =
    "install the package `passt`, or use the network mode `isolated`";
/// What a person can do about a missing Firecracker.
pub(crate) const FIRECRACKER_HINT: &str = "put a release of Firecracker on `PATH`, or name it in `MICROAGENT_FIRECRACKER`; `--backend qemu` works without";
/// What a person can do where KVM is of no use.
pub(crate) const KVM_HINT: &str = "use `--backend qemu`, which can emulate";

/// Where programs are, and the user's words about them. Read once.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    arch: Arch,
    search: ProgramSearch,
    firecracker: Option<String>,
    kvm: Option<String>,
}

/// Why no VM can start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoEngine {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Override(#[from] kvm::InvalidOverride),
    #[error("KVM is not usable: {0}")]
    Kvm(KvmObstacle),
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
}

impl Tools {
    /// From the environment.
    pub(crate) fn from_environment(arch: Arch) -> Self {
        let own = process::current_executable().unwrap_or_default();
        Self {
            arch,
            search: ProgramSearch::new(EnvVar::Path.read().unwrap_or_default(), &own),
            firecracker: EnvVar::Firecracker.read(),
            kvm: EnvVar::Kvm.read(),
        }
    }

    /// With programs in one folder, for tests.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: &std::path::Path) -> Self {
        let search_path = format!("{}:/usr/bin:/bin", folder.display());
        let firecracker = folder.join(FIRECRACKER);
        Self {
            arch: Arch::Amd64,
            search: ProgramSearch::new(search_path, &folder.join("supervisor")),
            firecracker: firecracker.to_str().map(str::to_owned),
            kvm: Some("on".to_owned()),
        }
    }

    /// The value of `PATH` that children get.
    pub(crate) fn search_path(&self) -> &str {
        self.search.search_path()
    }

    /// Firecracker.
    pub(crate) fn firecracker(&self) -> Result<PathBuf, ProgramError> {
        let named = self.firecracker.as_deref();
        self.search.find(
            FIRECRACKER,
            named.map(|value| (EnvVar::Firecracker.name(), value)),
        )
    }

    /// The network engine.
    pub(crate) fn passt(&self) -> Result<PathBuf, ProgramError> {
        self.search.find(PASST, None)
    }

    /// Whether KVM is usable. There is nothing to fall back to.
    pub(crate) fn check_kvm(&self) -> Result<(), NoEngine> {
        let user: Option<KvmOverride> = self.kvm.as_deref().map(str::parse).transpose()?;
        match kvm::judge(&kvm::observe(self.arch), user) {
            KvmVerdict::Usable => Ok(()),
            KvmVerdict::Unusable(obstacle) => Err(NoEngine::Kvm(obstacle)),
        }
    }
}

/// Everything that `host` tells. Asks two programs for their version, a second each at most.
pub(crate) fn host_facts(tools: &Tools, versions: Versions) -> HostFacts {
    let firecracker = tools.firecracker();
    let passt = tools.passt();
    let kvm = tools.check_kvm();
    let [version, passt_version] = match versions {
        Versions::Asked => host_report::versions_of([&firecracker, &passt]),
        // Some versions can't be used, but nothing can without KVM.
        Versions::LeftOut if kvm.is_ok() => {
            let [version] = host_report::versions_of([&firecracker]);
            [version, None]
        }
        Versions::LeftOut => [None, None],
    };
    let binary = firecracker.as_deref().ok().and_then(host_report::abs_path);
    let obstacle = firecracker
        .map_err(NoEngine::from)
        .and(kvm)
        .and_then(|()| check_version(version.as_deref()))
        .err();
    let engine = EngineFacts {
        unavailable: obstacle.map(|obstacle| obstacle.to_string()),
        binary,
        version,
    };
    HostFacts {
        os: "linux".to_owned(),
        os_version: host_report::os_version(),
        cpus: host_report::cpus(),
        memory_bytes: host_report::memory_bytes(),
        accelerator: engine.unavailable.is_none().then_some(Accelerator::Kvm),
        engine,
        kvm: Some(host_report::kvm_report(tools.arch, tools.kvm.as_deref())),
        programs: vec![host_report::program(
            PASST,
            "the network mode `nat`",
            &passt,
            passt_version,
        )],
        confinement: host_report::confinement(),
        network_modes: host_report::network_modes(&passt),
        administrator: None,
        entitlements: None,
    }
}

fn check_version(said: Option<&str>) -> Result<(), NoEngine> {
    let version: FirecrackerVersion = said.ok_or(NoVersion)?.parse()?;
    Ok(version.check()?)
}
