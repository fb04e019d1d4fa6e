//! A workspace as a response tells it: what is recorded, and how its parts are.
//!
//! States and reasons are text here, because a client reads a word that it does not know as "other".

use super::boot::{ConfinementView, ExitView, GuestView, MaintenanceView, PendingView, VmView};
use super::event::LastEvent;
use super::reach::{MediationView, NetworkView, Readiness};
use super::severed::QuarantineView;
use crate::guest::boot_spec::DiskMode;
use crate::supervisor::spec::{CloneKind, DiskFormat, ImageRecord};
use microagent_types::{
    AbsPath, Arch, BackendName, ByteSize, DiskName, GuestPath, LabelName, Sha256Hex, SignalName,
    Timestamp, VcpuCount, WorkspaceId, WorkspaceName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
