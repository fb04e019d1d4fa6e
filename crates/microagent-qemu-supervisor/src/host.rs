//! What this host has: programs, KVM, memory, confinement. Looked at, and judged elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use microagent_linux_host::confine::observe;
use microagent_linux_host::confine::plan::availabilities;
use microagent_linux_host::kvm::{self, KvmDevice, KvmOverride, KvmVerdict};
use microagent_linux_host::program::{ProgramError, ProgramSearch};
use microagent_linux_host::user_network::PASST;
use microagent_machine::Accelerator;
use microagent_os::fs;
use microagent_os::process::{self, Conversation, Spawn};
use microagent_supervisor::backend::{
    ConfinementDemand, ConfinementFacts, EngineFacts, HostFacts, KvmFacts, NetworkMode,
    NetworkModeFacts, Program,
};
use microagent_types::env_vars::EnvVar;
use microagent_types::{AbsPath, Arch};

/// The vsock device's program.
pub(crate) const VSOCK_DEVICE: &str = "vhost-device-vsock";

const ASK_VERSION: Conversation = Conversation {
    limit: Duration::from_secs(1),
    stdout_bytes_max: 4096,
    stderr_bytes_max: 4096,
};
const PROC_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Characters of a version that are reported.
const VERSION_CHARS_MAX: usize = 64;

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
    pub(crate) fn in_folder(folder: &Path) -> Self {
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

    /// What KVM is here. A value of `MICROAGENT_KVM` that means nothing is an error.
    pub(crate) fn kvm(&self) -> Result<(kvm::KvmFacts, KvmVerdict), kvm::InvalidOverride> {
        let user = self.kvm_override()?;
        let facts = kvm::observe(self.arch);
        let verdict = kvm::judge(&facts, user);
        Ok((facts, verdict))
    }

    /// KVM where it is usable, emulation where it is not.
    pub(crate) fn accelerator(&self) -> Result<Accelerator, kvm::InvalidOverride> {
        Ok(match self.kvm()?.1 {
            KvmVerdict::Usable => Accelerator::Kvm,
            KvmVerdict::Unusable(_) => Accelerator::Emulation,
        })
    }

    fn kvm_override(&self) -> Result<Option<KvmOverride>, kvm::InvalidOverride> {
        self.kvm.as_deref().map(str::parse).transpose()
    }
}

/// Everything that `host` tells. Asks three programs for their version, a second each at most.
pub(crate) fn host_facts(tools: &Tools) -> HostFacts {
    let qemu = tools.qemu();
    let vsock_device = tools.vsock_device();
    let passt = tools.passt();
    let kvm = tools.kvm();
    let unavailable = [
        qemu.as_ref().err().map(ToString::to_string),
        vsock_device.as_ref().err().map(ToString::to_string),
        kvm.as_ref().err().map(ToString::to_string),
    ];
    let engine = EngineFacts {
        unavailable: unavailable.into_iter().flatten().next(),
        binary: qemu.as_deref().ok().and_then(abs_path),
        version: qemu.as_deref().ok().and_then(version_of),
    };
    HostFacts {
        os: "linux".to_owned(),
        os_version: proc_text("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_bytes: memory_bytes_in(&proc_text("/proc/meminfo")).unwrap_or(0),
        accelerator: match (&engine.unavailable, tools.accelerator()) {
            (None, Ok(accelerator)) => Some(accelerator),
            _ => None,
        },
        engine,
        kvm: Some(kvm_report(tools)),
        programs: vec![
            program(VSOCK_DEVICE, "the guest's vsock", &vsock_device),
            program(PASST, "the network mode `nat`", &passt),
        ],
        confinement: confinement_facts(),
        network_modes: vec![
            NetworkModeFacts {
                mode: NetworkMode::Nat,
                unavailable: passt.err().map(|error| error.to_string()),
            },
            NetworkModeFacts {
                mode: NetworkMode::Isolated,
                unavailable: None,
            },
            NetworkModeFacts {
                mode: NetworkMode::Bridged,
                unavailable: Some("this backend has no bridged network".to_owned()),
            },
        ],
        administrator: None,
        entitlements: None,
    }
}

fn kvm_report(tools: &Tools) -> KvmFacts {
    let facts = kvm::observe(tools.arch);
    let user = tools.kvm_override().ok().flatten();
    KvmFacts {
        present: facts.device != KvmDevice::Absent,
        openable: matches!(
            facts.device,
            KvmDevice::Open { .. } | KvmDevice::Mute { .. }
        ),
        api_version: match facts.device {
            KvmDevice::Open { api_version } => Some(api_version),
            _ => None,
        },
        cpu_flag: facts.cpu_flag,
        usable: kvm::judge(&facts, user).is_usable(),
        override_word: tools.kvm.clone(),
    }
}

fn confinement_facts() -> ConfinementFacts {
    let demand = ConfinementDemand::from_word(EnvVar::Confinement.read().as_deref());
    let parts = availabilities(&observe::host_facts())
        .into_iter()
        .map(|(part, availability)| (part, availability.map_err(|reason| reason.to_string())));
    ConfinementFacts {
        required: demand == Some(ConfinementDemand::Required),
        parts: parts.collect(),
    }
}

fn program(name: &str, purpose: &str, found: &Result<PathBuf, ProgramError>) -> Program {
    Program {
        name: name.to_owned(),
        purpose: purpose.to_owned(),
        path: found.as_deref().ok().and_then(abs_path),
        version: found.as_deref().ok().and_then(version_of),
    }
}

fn abs_path(path: &Path) -> Option<AbsPath> {
    AbsPath::try_from(path).ok()
}

/// What a program says of its version. Blocks until it has ended, a second at most.
pub(crate) fn version_of(program: &Path) -> Option<String> {
    let ask = Spawn::new(program).argument("--version");
    let reply = ASK_VERSION.hold(ask, Vec::new()).ok()?;
    version_in(&String::from_utf8_lossy(&reply.stdout))
}

/// The first word of the first line that begins with a digit.
fn version_in(text: &str) -> Option<String> {
    text.lines()
        .next()?
        .split_ascii_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .map(|word| word.chars().take(VERSION_CHARS_MAX).collect())
}

fn memory_bytes_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn proc_text(path: &str) -> String {
    fs::read_text_bounded(Path::new(path), PROC_FILE_BYTES_MAX).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(
            version_in("QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright\n").as_deref(),
            Some("7.2.22")
        );
        assert_eq!(
            version_in("vhost-device-vsock 0.3.0\n").as_deref(),
            Some("0.3.0")
        );
        assert_eq!(version_in("passt unknown version\n"), None);
        assert_eq!(version_in(""), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            memory_bytes_in("MemTotal:        2048 kB\nMemFree: 1 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(memory_bytes_in("MemTotal: x kB\n"), None);
    }
}
