//! A response: the one object that a supervisor answers, with one of these parts for each subject.
//!
//! Clients ignore fields that they do not know and read words that they do not know as "other", so
//! words that grow (states, reasons, event types) are text here and enums in `microagent-machine`.

mod boot;
mod event;
mod host;
mod reach;
mod session;
mod severed;
mod workspace;

pub use boot::{
    ConfinementView, EndedBy, Ending, ExitView, GuestSync, GuestView, MaintenanceView, PendingView,
    Timings, VmView,
};
pub use event::{Event, LastEvent};
pub use host::{
    BackendReport, ConfinementPart, ConfinementReport, EntitlementsReport, HostLimits, HostReport,
    KvmReport, NetworkModeReport, ProgramReport,
};
pub use reach::{InterfaceView, MediationView, NetworkView, PublishView, Readiness, Traffic};
pub use session::{Endpoint, EndpointKind, Outcome, OutcomeKind, TextEncoding, Transport};
pub use severed::{QuarantineView, SeverResult, Severed};
pub use workspace::{
    DiskView, KernelView, Resources, RootDiskView, WorkloadView, Workspace, WorkspacePathsView,
};

use crate::fault::Fault;
use microagent_types::{AbsPath, BackendName, RequestId};
use serde::{Deserialize, Serialize};

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
