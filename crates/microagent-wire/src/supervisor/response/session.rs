//! Where a session is opened, and what came of one command.

use crate::fault::Fault;
use microagent_types::{SignalName, Timestamp};
use serde::{Deserialize, Serialize};

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
