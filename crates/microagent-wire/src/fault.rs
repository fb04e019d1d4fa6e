//! One error shape across every border: what a supervisor answers, a monitor answers and a person sees.
//!
//! The kind is a promise that programs match on; the message is for people and may change.

use microagent_types::{AbsPath, BootId, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

/// What went wrong, in one of fifteen words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// What was asked is malformed.
    Usage,
    /// A workspace, image, file or guest path is not there.
    NotFound,
    /// A name, port or disk is already taken.
    Conflict,
    /// The state does not allow it.
    WrongState,
    /// Another act holds the workspace.
    Busy,
    /// Something outside is not there now.
    Unavailable,
    /// A wait ran out.
    Timeout,
    /// The host's permissions refuse.
    Denied,
    /// This backend, host, protocol or guest cannot do it.
    Unsupported,
    /// Disk space, memory, descriptors or connections are exhausted.
    Resource,
    /// Something is corrupt.
    Integrity,
    /// The guest is broken or does not answer.
    Guest,
    /// A supervisor, monitor, VMM or helper failed.
    Backend,
    /// A signal ended the wait.
    Interrupted,
    /// A bug. Also what a kind becomes that this release does not know.
    #[serde(other)]
    Internal,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Usage,
        Self::NotFound,
        Self::Conflict,
        Self::WrongState,
        Self::Busy,
        Self::Unavailable,
        Self::Timeout,
        Self::Denied,
        Self::Unsupported,
        Self::Resource,
        Self::Integrity,
        Self::Guest,
        Self::Backend,
        Self::Interrupted,
        Self::Internal,
    ];

    /// Whether the same request may succeed later without any change.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable | Self::Timeout)
    }
}

/// Most causes of one fault.
pub const CAUSES_MAX: usize = 8;
/// Longest cause in bytes.
pub const CAUSE_BYTES_MAX: usize = 1024;

/// One error, as it crosses a border.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What programs match on.
    pub kind: FaultKind,
    /// One sentence without a final period that names the object.
    pub message: String,
    /// What to do now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same request may succeed later without any change.
    pub retryable: bool,
    /// Outermost first, at most [`CAUSES_MAX`].
    #[serde(default)]
    pub cause: Vec<String>,
    /// Facts for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<FaultDetails>>,
}

impl Fault {
    /// A fault without hint, causes and details.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            retryable: kind.is_retryable(),
            cause: Vec::new(),
            details: None,
        }
    }

    /// A fault from an error and the chain of its sources.
    pub fn from_error(kind: FaultKind, error: &dyn std::error::Error) -> Self {
        let mut fault = Self::new(kind, error.to_string());
        let mut source = error.source();
        while let Some(inner) = source {
            fault = fault.with_cause(inner.to_string());
            source = inner.source();
        }
        fault
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with one more cause; long ones are cut, those beyond the limit dropped.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        if self.cause.len() < CAUSES_MAX {
            let mut cause = cause.into();
            cause.truncate(cause.floor_char_boundary(CAUSE_BYTES_MAX));
            self.cause.push(cause);
        }
        self
    }

    /// The same with details changed by `change`.
    #[must_use]
    pub fn with_details(mut self, change: impl FnOnce(&mut FaultDetails)) -> Self {
        change(self.details.get_or_insert_default());
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// Facts that belong to a fault; which are present depends on what happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FaultDetails {
    /// Where in the request the problem is, `config.disks[1].name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The bound that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was found in place of what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<u64>,
    /// The workspace's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The reason of that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The current boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<BootId>,
    /// A port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// A file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What a wait waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_for: Option<String>,
    /// How long it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Whether the guest had acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<bool>,
    /// The log to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_path: Option<AbsPath>,
    /// The last lines of the console, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_console_lines: Vec<String>,
    /// The start-up phase that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The process that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The act that went through while this one waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overtaken_by: Option<OvertakenBy>,
    /// Who holds the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<LockHolder>,
    /// What the operating system said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_error: Option<OsError>,
    /// The generation of the guest that lacks something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_generation: Option<u32>,
    /// The service that the guest lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// The act that overtook another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OvertakenBy {
    /// Its verb.
    pub verb: String,
    /// Its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

/// Who holds a workspace's lock: written into the lock file, for errors only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockHolder {
    /// Its process.
    pub pid: u32,
    /// What it does.
    pub command: String,
    /// Its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Since when.
    pub since: Timestamp,
}

/// An error of the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OsError {
    /// The number.
    pub code: i32,
    /// Its symbolic name, `ECONNREFUSED`.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::{CAUSE_BYTES_MAX, CAUSES_MAX, Fault, FaultKind};

    #[test]
    fn an_unknown_kind_is_read_as_internal_and_unknown_fields_are_ignored() {
        let fault: Fault = serde_json::from_str(
            r#"{"kind":"from_the_future","message":"m","retryable":false,"later":1}"#,
        )
        .unwrap();
        assert_eq!(fault.kind, FaultKind::Internal);
    }

    #[test]
    fn causes_are_bounded_in_number_and_length() {
        let mut fault = Fault::new(FaultKind::Backend, "m");
        for _ in 0..20 {
            fault = fault.with_cause("ä".repeat(1000));
        }
        assert_eq!(fault.cause.len(), CAUSES_MAX);
        assert!(
            fault
                .cause
                .iter()
                .all(|cause| cause.len() <= CAUSE_BYTES_MAX)
        );
    }

    #[test]
    fn a_source_chain_becomes_causes() {
        let inner = std::io::Error::other("inner");
        let error = std::io::Error::other(inner);
        let fault = Fault::from_error(FaultKind::Resource, &error);
        assert_eq!(fault.message, "inner");
        assert!(!fault.retryable);
    }
}
