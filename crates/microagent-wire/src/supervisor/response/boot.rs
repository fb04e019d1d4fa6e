//! One boot of a workspace: its VM, its guest, its confinement, what is under way and how it ended.
//!
//! All of it is absent from a workspace to which it never happened.

use crate::guest::boot_spec::MaintenanceAccess;
use microagent_types::{BootId, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

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
