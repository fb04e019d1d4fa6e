//! A response, and the objects within it.
//!
//! Clients ignore fields that they do not know and read words that they do not know as "other", so
//! words that grow (states, reasons, event types) are text here and enums in `microagent-machine`.

use super::spec::{CloneKind, DiskFormat, ImageRecord, NetworkMode};
use crate::fault::Fault;
use crate::guest::boot_spec::{DiskMode, MaintenanceAccess};
use crate::supervisor::request::Initiator;
use microagent_types::{
    AbsPath, Arch, BackendName, BootId, ByteSize, DiskName, GuestPath, GuestPort, HostPort,
    LabelName, MediationPort, MediationTarget, RequestId, Sha256Hex, SignalName, Timestamp,
    VcpuCount, WorkspaceId, WorkspaceName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a supervisor answers, one object for every outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The version of the request.
    pub protocol_version: u64,
    /// Whether the act was done.
    pub ok: bool,
    /// Who answers.
    pub backend: BackendName,
    /// What was asked, when it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The workspace as recorded after the act, failures included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Box<Workspace>>,
    /// Whether anything was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// The last event that the act wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// With `inspect` and the option `events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// With `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<HostReport>>,
    /// With `connect` and `console`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Endpoint>,
    /// With `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<Outcome>>,
    /// With `start` and `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// With `halt`, `stop` and `kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// With `quarantine`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severed: Option<Severed>,
    /// With `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
    /// With `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// With `reconcile`, and with `inspect` when something was reconciled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// With `reconcile`: what was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned: Option<Vec<AbsPath>>,
    /// Facts that did not stop the act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Exactly when `ok` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<Fault>>,
}

impl Response {
    /// A success without anything optional.
    pub fn success(backend: BackendName) -> Self {
        Self {
            protocol_version: super::PROTOCOL_VERSION,
            ok: true,
            backend,
            command: None,
            request_id: None,
            workspace: None,
            changed: None,
            event: None,
            events: None,
            host: None,
            connect: None,
            result: None,
            timings: None,
            ending: None,
            severed: None,
            deleted: None,
            freed_bytes: None,
            verdict: None,
            cleaned: None,
            warnings: Vec::new(),
            error: None,
        }
    }

    /// A failure without anything optional.
    pub fn failure(backend: BackendName, fault: Fault) -> Self {
        Self {
            ok: false,
            error: Some(Box::new(fault)),
            ..Self::success(backend)
        }
    }
}

/// A workspace as a supervisor or its monitor sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Its name.
    pub name: WorkspaceName,
    /// Its identity.
    pub id: WorkspaceId,
    /// Its backend.
    pub backend: BackendName,
    /// Its architecture.
    pub arch: Arch,
    /// When it was made.
    pub created_at: Timestamp,
    /// The release that made it.
    pub created_by: String,
    /// Whether it goes when its one run ends.
    pub ephemeral: bool,
    /// The profile it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<LabelName, String>,
    /// Where its root disk came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRecord>,
    /// The guest's host name.
    pub hostname: WorkspaceName,
    /// Its state, a word of the lifecycle.
    pub state: String,
    /// Why it is in that state.
    pub reason: String,
    /// Since when.
    pub state_since: Timestamp,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The record could not be reconciled in time.
    pub stale: bool,
    /// When this was seen.
    pub observed_at: Timestamp,
    /// `kvm`, `emulation`, `apple` or `hyperv`: in use, or what the next start would use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// What it may use.
    pub resources: Resources,
    /// What boots it.
    pub kernel: KernelView,
    /// Its root disk.
    pub root_disk: RootDiskView,
    /// Its data disks.
    #[serde(default)]
    pub disks: Vec<DiskView>,
    /// What runs at boot.
    pub workload: WorkloadView,
    /// Names of its environment; values appear in no response.
    #[serde(default)]
    pub env_names: Vec<String>,
    /// Its network.
    pub network: NetworkView,
    /// Its mediation channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mediation: Option<MediationView>,
    /// What is ready.
    pub readiness: Readiness,
    /// Its VM, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmView>,
    /// Its guest, while it talks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestView>,
    /// How its VM is confined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<ConfinementView>,
    /// The act under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingView>,
    /// Its quarantine; stays for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineView>,
    /// Its maintenance boot, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceView>,
    /// How its workload last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitView>,
    /// The last line of its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<LastEvent>,
    /// Where its files are.
    pub paths: WorkspacePathsView,
}

/// What a workspace may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Memory.
    pub memory_bytes: ByteSize,
    /// Virtual CPUs.
    pub cpus: VcpuCount,
    /// Size of the root disk.
    pub disk_bytes: ByteSize,
}

/// The kernel of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelView {
    /// Where it is.
    pub path: AbsPath,
    /// Its SHA-256.
    pub sha256: Sha256Hex,
    /// Whether it is pinned.
    pub custom: bool,
}

/// The root disk of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootDiskView {
    /// Where it is.
    pub path: AbsPath,
    /// Its layout.
    pub format: DiskFormat,
    /// Its size.
    pub size_bytes: ByteSize,
    /// What it takes on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_bytes: Option<ByteSize>,
    /// How it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneKind>,
}

/// A data disk of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskView {
    /// What it is called.
    pub name: DiskName,
    /// Where it is.
    pub path: AbsPath,
    /// Where the guest mounts it.
    pub mount: GuestPath,
    /// Whether it may be written.
    pub mode: DiskMode,
    /// Its size, when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<ByteSize>,
    /// Whether it goes with the workspace.
    pub owned: bool,
}

/// What runs at boot, without its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadView {
    /// Nothing does.
    pub idle: bool,
    /// The program and its arguments.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<GuestPath>,
    /// What asks it to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<SignalName>,
}

/// The network of a workspace: what is declared and what is so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    /// Its kind.
    pub mode: NetworkMode,
    /// The program behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The guest's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The guest's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceView>,
    /// Cut by quarantine.
    pub severed: bool,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Published ports.
    #[serde(default)]
    pub publish: Vec<PublishView>,
}

/// The guest's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceView {
    /// Hardware address.
    pub mac: String,
    /// IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
    /// IPv4 gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<String>,
    /// IPv6 gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<String>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishView {
    /// Where the host listens.
    pub host: IpAddr,
    /// The real port there.
    pub host_port: HostPort,
    /// The port in the guest.
    pub guest_port: GuestPort,
    /// Always `tcp`.
    pub protocol: String,
    /// Whether it listens now.
    pub listening: bool,
    /// Open connections.
    pub open_connections: u64,
    /// All connections of this boot.
    pub total_connections: u64,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The mediation channel: what is declared and what is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediationView {
    /// The vsock port.
    pub port: MediationPort,
    /// Where it leads.
    pub target: MediationTarget,
    /// Whether a start needs it.
    pub required: bool,
    /// Whether the target accepts.
    pub ready: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Open connections.
    pub open_connections: u64,
    /// All connections of this boot.
    pub total_connections: u64,
    /// Refused ones.
    pub refused_connections: u64,
    /// Guest to host.
    pub bytes_in: u64,
    /// Host to guest.
    pub bytes_out: u64,
}

/// What is ready, pushed and never guessed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Readiness {
    /// The guest said so in this boot and its heart beats.
    pub guest_ready: bool,
    /// Commands can run.
    pub exec_ready: bool,
    /// The mediation target accepts; absent without a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediation_ready: Option<bool>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediation_error: Option<String>,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmView {
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its compute system, on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// The process that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_pid: Option<u32>,
    /// When this boot began.
    pub started_at: Timestamp,
    /// This boot.
    pub boot_id: BootId,
    /// Boots so far.
    pub boot_count: u64,
    /// From the beginning to ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// Whether it lives.
    pub alive: bool,
}

/// A guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestView {
    /// The generation it speaks.
    pub generation: u32,
    /// The release of its guest init.
    pub init_version: String,
    /// What it can do.
    #[serde(default)]
    pub features: Vec<String>,
    /// When its heart last beat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<Timestamp>,
    /// Fewer than three beats in a row are missing.
    pub responsive: bool,
}

/// How a VM is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfinementView {
    /// At least one part is.
    pub active: bool,
    /// A start needs all parts.
    pub required: bool,
    /// The active parts, by word.
    #[serde(default)]
    pub parts: Vec<String>,
}

/// An act under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingView {
    /// Its verb.
    pub verb: String,
    /// Its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// When it began.
    pub at: Timestamp,
    /// When its wait ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Whether the guest has acknowledged it.
    pub acknowledged: bool,
}

/// A quarantine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineView {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether the vCPUs are stopped.
    pub frozen: bool,
    /// Whether it holds now.
    pub active: bool,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// What was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severed: Option<Severed>,
}

/// How one path was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverResult {
    /// It is cut.
    Done,
    /// There was none.
    None,
    /// It is still open.
    Failed,
}

/// What a quarantine cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Severed {
    /// The NIC.
    pub network: SeverResult,
    /// Published ports.
    pub publish: SeverResult,
    /// The mediation channel.
    pub mediation: SeverResult,
    /// Sessions and the serial console.
    pub sessions: SeverResult,
    /// Whether the vCPUs are stopped.
    pub frozen: bool,
    /// Whether the VM lives.
    pub vm_alive: bool,
}

/// A maintenance boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceView {
    /// How the disks are mounted.
    pub access: MaintenanceAccess,
    /// Since when.
    pub since: Timestamp,
    /// Its boot.
    pub boot_id: BootId,
}

/// How a workload ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitView {
    /// Its code, when it returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal, when one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When.
    pub ended_at: Timestamp,
}

/// The last line of a history, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastEvent {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The state it led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where a workspace's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspacePathsView {
    /// Its folder.
    pub workspace: AbsPath,
    /// The console as captured.
    pub serial_log: AbsPath,
    /// Its history.
    pub events: AbsPath,
    /// Sockets of its boot.
    pub run: AbsPath,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The state it led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The request behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Initiator>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The boot it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<BootId>,
    /// By type.
    #[serde(default)]
    pub data: serde_json::Map<String, serde_json::Value>,
    /// SHA-256 of the line before.
    pub prev: Sha256Hex,
}

/// What an [`Endpoint`] leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// Frames of a session.
    MonitorSocket,
    /// Raw bytes.
    Serial,
}

/// How an [`Endpoint`] is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A Unix socket.
    Unix,
    /// A named pipe.
    Pipe,
}

/// What to connect to, and the line to write first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// What the stream is after the answer.
    pub kind: EndpointKind,
    /// How it is reached.
    pub transport: Transport,
    /// What to connect to.
    pub path: String,
    /// The exact first line, newline included.
    pub open: String,
}

/// How a process of a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// It returned.
    Exited,
    /// A signal ended it.
    Signaled,
    /// Its time limit ended it.
    TimedOut,
    /// It never ran.
    NotStarted,
}

/// How captured bytes stand in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextEncoding {
    /// As they are.
    Utf8,
    /// They are not UTF-8.
    Base64,
}

/// The result of one command, with its output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Its code, when it returned.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The signal, when one ended it.
    #[serde(default)]
    pub signal: Option<SignalName>,
    /// Its output, up to the limit.
    pub stdout: String,
    /// How that stands here.
    pub stdout_encoding: TextEncoding,
    /// All that it wrote, also beyond the limit.
    pub stdout_bytes: u64,
    /// Some is missing here.
    pub stdout_truncated: bool,
    /// Its error output, up to the limit.
    pub stderr: String,
    /// How that stands here.
    pub stderr_encoding: TextEncoding,
    /// All that it wrote, also beyond the limit.
    pub stderr_bytes: u64,
    /// Some is missing here.
    pub stderr_truncated: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it ran.
    pub duration_ms: u64,
    /// For `timed_out` and `not_started`.
    #[serde(default)]
    pub error: Option<Box<Fault>>,
}

/// How long a start took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// From the launch of the VMM to the guest's hello.
    pub boot_ms: u64,
    /// From the launch of the VMM to ready.
    pub ready_ms: u64,
    /// From the request to the answer.
    pub total_ms: u64,
}

/// What ended a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// It ended by itself.
    Guest,
    /// SIGTERM, or the framework's equivalent.
    Sigterm,
    /// SIGKILL, or the framework's equivalent.
    Kill,
    /// There was none.
    None,
}

/// How the guest's sync went before a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestSync {
    /// Written back.
    Done,
    /// Not within its 2 s.
    TimedOut,
    /// Not asked for.
    Skipped,
}

/// The end of a VM on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// What ended it.
    pub ended_by: EndedBy,
    /// How the sync went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_sync: Option<GuestSync>,
    /// How long it took.
    pub duration_ms: u64,
}

/// What a host and one backend can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// `linux`, `macos` or `windows`.
    pub os: String,
    /// Its version.
    pub os_version: String,
    /// Its architecture.
    pub arch: Arch,
    /// Its processors.
    pub cpus: u32,
    /// Its memory.
    pub memory_bytes: ByteSize,
    /// The supervisor's own backend.
    pub backends: Vec<BackendReport>,
    /// `/dev/kvm`, on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kvm: Option<KvmReport>,
    /// What the next start would use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Helper programs.
    #[serde(default)]
    pub programs: Vec<ProgramReport>,
    /// How VMs are confined here.
    pub confinement: ConfinementReport,
    /// Which networks there can be.
    #[serde(default)]
    pub network_modes: Vec<NetworkModeReport>,
    /// Whether this process has administrator rights, on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<bool>,
    /// What the binary may do, on macOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitlements: Option<EntitlementsReport>,
    /// What the backend can do, by word.
    #[serde(default)]
    pub capabilities: BTreeMap<String, bool>,
    /// How much of it.
    pub limits: HostLimits,
}

/// A backend on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    /// Which.
    pub name: BackendName,
    /// Whether it can start a VM.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its VMM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<AbsPath>,
    /// The VMM's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The supervisor that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<AbsPath>,
}

/// What `/dev/kvm` is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KvmReport {
    /// It is there.
    pub present: bool,
    /// It opens for reading and writing.
    pub openable: bool,
    /// Its API version; 12 is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<i32>,
    /// The processor shows `vmx` or `svm`; true where that question does not arise.
    pub cpu_flag: bool,
    /// All of it.
    pub usable: bool,
    /// `on` or `off`, when the probe is overridden.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<String>,
}

/// A helper program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Whether it is there.
    pub found: bool,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<AbsPath>,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How VMs are confined on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfinementReport {
    /// A start needs all parts.
    pub required: bool,
    /// Every part.
    #[serde(default)]
    pub parts: Vec<ConfinementPart>,
}

/// One part of confinement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfinementPart {
    /// Its word.
    pub name: String,
    /// Whether a VM would have it.
    pub active: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A network mode on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkModeReport {
    /// Which.
    pub mode: NetworkMode,
    /// Whether it can be had.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a signed binary may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntitlementsReport {
    /// `com.apple.security.virtualization`.
    pub virtualization: bool,
    /// `com.apple.vm.networking`.
    pub networking: bool,
}

/// How much a backend can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostLimits {
    /// Virtual CPUs of one workspace.
    pub cpus: u32,
    /// Data disks of one workspace.
    pub disks: u32,
    /// Memory of one workspace.
    pub memory_bytes: ByteSize,
}
