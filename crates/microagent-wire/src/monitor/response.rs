//! What a monitor answers: one line, or two for an act.

use crate::fault::Fault;
use crate::supervisor::response::{Ending, Event, PendingView, Severed, Workspace};
use serde::{Deserialize, Serialize};

/// One answer line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MonitorAnswer {
    /// It is, or is being, done.
    pub ok: bool,
    /// First line of an act: the intent is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    /// Second line of an act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
    /// Whether anything was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// The workspace after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Box<Workspace>>,
    /// The event that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// With `halt`, `stop` and `kill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// With `quarantine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severed: Option<Severed>,
    /// With `session`: its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// With `session`: what the guest speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// With `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<MonitorIdentity>,
    /// With `status`: records can't be written now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_error: Option<String>,
    /// With `pending`: the act under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingView>,
    /// Facts that did not stop the act.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Exactly when `ok` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<Fault>>,
}

impl MonitorAnswer {
    /// A plain success.
    pub fn success() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }

    /// The first line of an act.
    pub fn accepted() -> Self {
        Self {
            ok: true,
            accepted: Some(true),
            ..Self::default()
        }
    }

    /// A refusal or failure.
    pub fn failure(fault: Fault) -> Self {
        Self {
            ok: false,
            error: Some(Box::new(fault)),
            ..Self::default()
        }
    }

    /// The line that goes on the socket, newline included.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("string keys only");
        line.push('\n');
        line
    }

    /// Reads one line.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

/// Which monitor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorIdentity {
    /// Its release.
    pub version: String,
    /// The version of these lines.
    pub protocol: u32,
}

/// The version of the lines on `run/monitor.sock`.
pub const MONITOR_PROTOCOL: u32 = 1;

/// One line of an `events` stream: the stored line, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The line without its newline.
    pub event: String,
}

impl EventLine {
    /// The line that goes on the socket, newline included.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("string keys only");
        line.push('\n');
        line
    }
}
