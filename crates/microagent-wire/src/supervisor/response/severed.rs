//! A quarantine, and what it cut.

use microagent_types::Timestamp;
use serde::{Deserialize, Serialize};

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
