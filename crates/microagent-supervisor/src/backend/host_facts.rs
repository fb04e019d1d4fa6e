//! What a backend knows of its host: found by looking, reported as found, judged elsewhere.

use super::NetworkMode;
use microagent_machine::Accelerator;
use microagent_types::AbsPath;

/// Whether programs are run to learn their versions, which takes tens of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// They are, all at once.
    Asked,
    /// Only where a version decides whether a VM can be started.
    LeftOut,
}

/// Everything that `host` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct HostFacts {
    /// Name of the operating system, `linux`.
    pub os: String,
    /// Its version.
    pub os_version: String,
    /// Processors that this process may use.
    pub cpus: u32,
    /// Memory of the host.
    pub memory_bytes: u64,
    /// Whether a VM could start, and its VMM.
    pub engine: EngineFacts,
    /// The state of KVM, where there could be one.
    pub kvm: Option<KvmFacts>,
    /// What a start would use; none when nothing would start.
    pub accelerator: Option<Accelerator>,
    /// Programs that are needed or useful.
    pub programs: Vec<Program>,
    /// What confinement this host allows.
    pub confinement: ConfinementFacts,
    /// Which network modes work.
    pub network_modes: Vec<NetworkModeFacts>,
    /// Whether the caller has administrator rights, where that matters.
    pub administrator: Option<bool>,
    /// Entitlements of the executable, virtualization and networking, where they matter.
    pub entitlements: Option<(bool, bool)>,
}

/// The VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// Why no VM can start; none when one can.
    pub unavailable: Option<String>,
    /// Its program.
    pub binary: Option<AbsPath>,
    /// Its version.
    pub version: Option<String>,
}

/// What was found of KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvmFacts {
    /// The device node is there.
    pub present: bool,
    /// It opens for reading and writing.
    pub openable: bool,
    /// What it says its API version is.
    pub api_version: Option<i32>,
    /// The processor shows hardware virtualization.
    pub cpu_flag: bool,
    /// It can run a guest, or the override says so.
    pub usable: bool,
    /// The override, when one is set.
    pub override_word: Option<String>,
}

/// A program beside the VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Where it is; none when it was not found.
    pub path: Option<AbsPath>,
    /// Its version.
    pub version: Option<String>,
}

/// A part of a VMM's confinement, in the protocol's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfinementPart {
    /// The VMM gains no privileges.
    NoNewPrivileges,
    /// A user namespace.
    UserNamespace,
    /// A mount namespace.
    MountNamespace,
    /// A pid namespace.
    PidNamespace,
    /// An IPC namespace.
    IpcNamespace,
    /// A network namespace.
    NetworkNamespace,
    /// A root that holds only its own files.
    PrivateRoot,
    /// Landlock on the monitor.
    Landlock,
    /// The VMM's own system call filter.
    Seccomp,
}

impl ConfinementPart {
    /// Every part.
    pub const ALL: [Self; 9] = [
        Self::NoNewPrivileges,
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::IpcNamespace,
        Self::NetworkNamespace,
        Self::PrivateRoot,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// The word in reports and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoNewPrivileges => "no_new_privs",
            Self::UserNamespace => "user_ns",
            Self::MountNamespace => "mount_ns",
            Self::PidNamespace => "pid_ns",
            Self::IpcNamespace => "ipc_ns",
            Self::NetworkNamespace => "net_ns",
            Self::PrivateRoot => "private_root",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

/// What confinement this host allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfinementFacts {
    /// Whether a start is refused without all of it.
    pub required: bool,
    /// Each part, and why it cannot be had.
    pub parts: Vec<(ConfinementPart, Result<(), String>)>,
}

/// Whether a network mode works here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkModeFacts {
    /// The mode.
    pub mode: NetworkMode,
    /// Why it does not; none when it does.
    pub unavailable: Option<String>,
}
