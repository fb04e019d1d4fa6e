//! The control connection: hello, boot, progress, ready, heartbeats, the end.
//!
//! ```text
//! guest                                host
//!   hello            ->
//!                    <-  boot | refuse
//!   progress …       ->
//!   ready | failed   ->
//!   heartbeat …      ->
//!   exited           ->                    (the workload ended)
//!                    <-  halt
//!   halting …        ->                    (acknowledged … poweroff)
//!                    <-  bye
//! ```

use super::KnownTypes;
use super::boot_spec::BootSpec;
use microagent_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What a guest says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum GuestMessage {
    /// The first message of a connection.
    Hello(Hello),
    /// A step of the boot begins.
    Progress {
        /// Which one.
        step: BootStep,
        /// More about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The files of the first boot are written; the host may remove its copy.
    FilesDelivered {
        /// How many entries.
        entries: u64,
        /// How many bytes of content.
        bytes: u64,
    },
    /// The boot is done: services accept, the workload runs.
    Ready(Ready),
    /// The boot can't go on; the end follows.
    Failed {
        /// Where.
        step: BootStep,
        /// On what: a device, a path, a program.
        object: String,
        /// One sentence.
        message: String,
        /// What the kernel said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
    },
    /// The guest lives.
    Heartbeat {
        /// Since the kernel began.
        uptime_ms: u64,
        /// Load average of one minute, times 100.
        load: u64,
        /// `MemAvailable`.
        memory_available_bytes: u64,
        /// Open sessions.
        sessions: u32,
    },
    /// The workload ended.
    Exited {
        /// Its code, when it returned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The signal, when one ended it, `SIGKILL`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
        /// More about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        ended_at: Timestamp,
    },
    /// The end is under way.
    Halting {
        /// The halt that asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// How far it is.
        phase: HaltPhase,
        /// Why it ends, with `poweroff`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<EndCause>,
        /// Whether every disk could be unmounted or made read-only, with `poweroff`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clean: Option<bool>,
    },
    /// A message of the host that this guest does not know.
    Unsupported {
        /// Its type.
        of: String,
    },
}

impl KnownTypes for GuestMessage {
    const TYPES: &'static [&'static str] = &[
        "hello",
        "progress",
        "files_delivered",
        "ready",
        "failed",
        "heartbeat",
        "exited",
        "halting",
        "unsupported",
    ];
}

/// Who the guest is and what it can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The newest generation it speaks.
    pub generation: u32,
    /// The oldest generation it speaks.
    pub min_generation: u32,
    /// What it can do, by word.
    #[serde(default)]
    pub features: Vec<String>,
    /// The release of its guest init.
    pub init_version: String,
    /// Its kernel, `6.12.58`.
    pub kernel: String,
    /// The kernel's own boot id.
    pub guest_boot_id: String,
    /// Since the kernel began.
    pub uptime_ms: u64,
    /// The value of the boot spec, when the connection had broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
}

/// The guest serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Since the kernel began.
    pub uptime_ms: u64,
    /// By how much the root file system grew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grown_bytes: Option<u64>,
    /// The network interface as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceReport>,
    /// The workload's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What went wrong without stopping the boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A network interface as the guest's kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceReport {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Prefix length of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
}

/// A step of the guest's boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootStep {
    /// The root disk is awaited and mounted.
    MountRoot,
    /// The root file system grows.
    Grow,
    /// The other disks are mounted.
    MountDisks,
    /// The files of the first boot are written.
    Files,
    /// Addresses and routes are set.
    Network,
    /// The service listener opens.
    Services,
    /// The workload starts.
    Workload,
    /// A step this release does not know.
    #[serde(other)]
    Other,
}

impl BootStep {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MountRoot => "mount_root",
            Self::Grow => "grow",
            Self::MountDisks => "mount_disks",
            Self::Files => "files",
            Self::Network => "network",
            Self::Services => "services",
            Self::Workload => "workload",
            Self::Other => "other",
        }
    }
}

/// How far the guest's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltPhase {
    /// It heard.
    Acknowledged,
    /// The workload is asked to stop and awaited.
    Workload,
    /// Everything else is ended.
    Processes,
    /// Data is written back.
    Sync,
    /// Disks are unmounted.
    Unmount,
    /// The next thing is the reboot call.
    Poweroff,
    /// A phase this release does not know.
    #[serde(other)]
    Other,
}

/// Why a guest ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The host asked.
    Halt,
    /// The workload ended.
    Workload,
    /// Something inside asked for a power-off or reboot.
    Guest,
}

/// What a host says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum HostMessage {
    /// Who the guest is to be.
    Boot(Box<BootSpec>),
    /// There is no common generation; the guest ends itself.
    Refuse {
        /// One sentence.
        message: String,
    },
    /// Shut down in order.
    Halt {
        /// Echoed in every `halting`.
        id: u64,
    },
    /// The `poweroff` is recorded.
    Bye,
    /// Set the clock.
    Clock {
        /// Unix microseconds.
        time_unix_us: u64,
    },
    /// Whether the mediation target accepts; informative.
    Mediation {
        /// It does.
        ready: bool,
    },
    /// A message of the guest that this host does not know.
    Unsupported {
        /// Its type.
        of: String,
    },
}

impl KnownTypes for HostMessage {
    const TYPES: &'static [&'static str] = &[
        "boot",
        "refuse",
        "halt",
        "bye",
        "clock",
        "mediation",
        "unsupported",
    ];

    fn read(kind: &str, payload: &[u8]) -> serde_json::Result<Self> {
        match kind {
            // A guest reads it at each boot, and by way of its tag that takes twice the time.
            "boot" => serde_json::from_slice(payload).map(Self::Boot),
            _ => serde_json::from_slice(payload),
        }
    }
}
