//! What the host reports of both Linux backends have in common. Looked at, and judged elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use microagent_os::process::{Conversation, Spawn};
use microagent_os::{fs, host_pace};
use microagent_supervisor::backend::{
    ConfinementDemand, ConfinementFacts, KvmFacts, NetworkMode, NetworkModeFacts, Program,
};
use microagent_types::env_vars::EnvVar;
use microagent_types::{AbsPath, Arch};

use crate::confine::observe;
use crate::confine::plan::availabilities;
use crate::kvm::{self, KvmDevice, KvmOverride};
use crate::program::ProgramError;

const ASK_VERSION: Conversation = Conversation {
    limit: Duration::from_secs(1),
    stdout_bytes_max: 4096,
    stderr_bytes_max: 4096,
};
const PROC_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Characters of a version that are reported.
const VERSION_CHARS_MAX: usize = 64;

/// The kernel's version.
pub fn os_version() -> String {
    proc_text("/proc/sys/kernel/osrelease").trim().to_owned()
}

/// Processors that this process may use.
pub fn cpus() -> u32 {
    std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// Memory of the host; 0 when it does not say.
pub fn memory_bytes() -> u64 {
    memory_bytes_in(&proc_text("/proc/meminfo")).unwrap_or(0)
}

/// What KVM is here, with the user's word about it as it was given.
pub fn kvm_report(arch: Arch, word: Option<&str>) -> KvmFacts {
    let facts = kvm::observe(arch);
    let user: Option<KvmOverride> = word.and_then(|word| word.parse().ok());
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
        override_word: word.map(str::to_owned),
    }
}

/// What confinement this host allows.
pub fn confinement() -> ConfinementFacts {
    let demand = ConfinementDemand::from_word(EnvVar::Confinement.read().as_deref());
    let parts = availabilities(&observe::host_facts())
        .into_iter()
        .map(|(part, availability)| (part, availability.map_err(|reason| reason.to_string())));
    ConfinementFacts {
        required: demand == Some(ConfinementDemand::Required),
        parts: parts.collect(),
    }
}

/// Which modes work, given the network engine or why there is none.
pub fn network_modes(passt: &Result<PathBuf, ProgramError>) -> Vec<NetworkModeFacts> {
    let no_bridge = "this backend has no bridged network".to_owned();
    [
        (
            NetworkMode::Nat,
            passt.as_ref().err().map(ToString::to_string),
        ),
        (NetworkMode::Isolated, None),
        (NetworkMode::Bridged, Some(no_bridge)),
    ]
    .into_iter()
    .map(|(mode, unavailable)| NetworkModeFacts { mode, unavailable })
    .collect()
}

/// A program with its version, when it was asked for.
pub fn program(
    name: &str,
    purpose: &str,
    found: &Result<PathBuf, ProgramError>,
    version: Option<String>,
) -> Program {
    Program {
        name: name.to_owned(),
        purpose: purpose.to_owned(),
        path: found.as_deref().ok().and_then(abs_path),
        version,
    }
}

/// What these programs say of their versions, asked all at once; nothing of one that is not there.
pub fn versions_of<const N: usize>(
    programs: [&Result<PathBuf, ProgramError>; N],
) -> [Option<String>; N] {
    std::thread::scope(|scope| {
        programs
            .map(|found| {
                let program = found.as_deref().ok()?;
                Some(scope.spawn(|| version_of(program)))
            })
            .map(|asked| asked?.join().ok()?)
    })
}

/// A path as a report has it.
pub fn abs_path(path: &Path) -> Option<AbsPath> {
    AbsPath::try_from(path).ok()
}

/// What a program says of its version: a second at most.
pub fn version_of(program: &Path) -> Option<String> {
    let ask = Spawn::new(program).argument("--version");
    let conversation = Conversation {
        limit: host_pace::limit(ASK_VERSION.limit),
        ..ASK_VERSION
    };
    let reply = conversation.hold(ask, Vec::new()).ok()?;
    version_in(&String::from_utf8_lossy(&reply.stdout))
}

/// The first word of the first line that is a number, with or without a `v` before it.
fn version_in(text: &str) -> Option<String> {
    text.lines()
        .next()?
        .split_ascii_whitespace()
        .map(|word| word.strip_prefix('v').unwrap_or(word))
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
        let rows = [
            ("QEMU emulator version 7.2.22 (Debian)\nx", Some("7.2.22")),
            ("Firecracker v1.15.1\n\n2026 [exit]", Some("1.15.1")),
            ("vhost-device-vsock 0.3.0\n", Some("0.3.0")),
            ("passt unknown version\n", None),
            ("", None),
        ];
        for (said, version) in rows {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
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
