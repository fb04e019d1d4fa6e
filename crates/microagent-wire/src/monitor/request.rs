//! What a monitor is asked.

use crate::guest::service::ServiceRequest;
use crate::strict_json;
use crate::supervisor::request::{Expect, Initiator};
use microagent_types::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request line.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorRequest {
    /// What to do.
    pub op: MonitorOp,
    /// Stored in every event of it.
    pub request_id: Option<RequestId>,
    /// Who asks; recorded, never trusted.
    pub initiator: Option<Initiator>,
    /// Why; recorded.
    pub note: Option<String>,
    /// The identity the caller means.
    pub expect: Option<Expect>,
}

/// What everything but the op itself shares.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Common {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<Initiator>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Expect>,
}

/// What a monitor can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum MonitorOp {
    /// Tells the workspace.
    Status {
        /// The guest is pinged, the mediation target tried.
        #[serde(default)]
        probe: bool,
    },
    /// Clean shutdown.
    Halt {
        /// How long to wait.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Guest sync, SIGTERM, kill.
    Stop {
        /// How long to wait after SIGTERM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// SIGKILL.
    Kill {},
    /// Freezes the vCPUs.
    Pause {},
    /// Thaws them.
    Resume {},
    /// Severs.
    Quarantine {
        /// The vCPUs are stopped too.
        #[serde(default)]
        freeze: bool,
    },
    /// Answers when something is so.
    Wait {
        /// What.
        #[serde(rename = "for")]
        what: WaitFor,
        /// How long; without, as long as the VM lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Sends the history as it grows.
    Events {
        /// From after this number.
        #[serde(default)]
        after: u64,
    },
    /// Opens a session in the guest; frames follow.
    Session {
        /// The first frame's object.
        request: Value,
        /// The VM is killed when this connection ends unreleased.
        #[serde(default)]
        end_vm_on_close: bool,
    },
    /// Attaches to the serial console; raw bytes follow.
    Serial {
        /// How.
        mode: SerialMode,
    },
    /// Takes `endVmOnClose` from a session.
    Release {
        /// Which.
        number: u64,
    },
    /// Tells the act under way.
    Pending {},
}

impl MonitorOp {
    /// Every op by its word.
    pub const WORDS: &'static [&'static str] = &[
        "status",
        "halt",
        "stop",
        "kill",
        "pause",
        "resume",
        "quarantine",
        "wait",
        "events",
        "session",
        "serial",
        "release",
        "pending",
    ];

    /// A session for a service of the guest.
    pub fn session(request: &ServiceRequest, end_vm_on_close: bool) -> Self {
        Self::Session {
            request: request.to_json(),
            end_vm_on_close,
        }
    }
}

/// What a `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The guest is ready.
    Ready,
    /// The VM is gone.
    Ended,
    /// The state is another one.
    Change,
}

/// How a serial attacher takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SerialMode {
    /// Input is merged with that of others.
    Attach,
    /// No input.
    Watch,
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub enum MonitorRequestError {
    /// It is no JSON object with an `op`, or a field does not fit.
    #[error("the line is no request")]
    Malformed(#[from] serde_json::Error),
    /// It names an op that this release does not have.
    #[error("the op `{0}` is unknown")]
    UnknownOp(String),
}

impl MonitorRequest {
    /// A request with nothing but its op.
    pub fn new(op: MonitorOp) -> Self {
        Self {
            op,
            request_id: None,
            initiator: None,
            note: None,
            expect: None,
        }
    }

    /// The line that goes on the socket, newline included.
    pub fn to_line(&self) -> String {
        let common = Common {
            request_id: self.request_id.clone(),
            initiator: self.initiator.clone(),
            note: self.note.clone(),
            expect: self.expect,
        };
        let mut object = serde_json::to_value(&self.op).expect("string keys only");
        let fields = serde_json::to_value(common).expect("string keys only");
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        format!("{object}\n")
    }

    /// Reads one line.
    ///
    /// # Errors
    /// When it is malformed or names an unknown op.
    pub fn parse(line: &[u8]) -> Result<Self, MonitorRequestError> {
        let object = strict_json::parse_object(line)?;
        let op = object
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if !MonitorOp::WORDS.contains(&op.as_str()) {
            return Err(MonitorRequestError::UnknownOp(op));
        }
        let object = Value::Object(object);
        let common = Common::deserialize(&object)?;
        Ok(Self {
            op: MonitorOp::deserialize(&object)?,
            request_id: common.request_id,
            initiator: common.initiator,
            note: common.note,
            expect: common.expect,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{MonitorOp, MonitorRequest, MonitorRequestError, WaitFor};
    use crate::guest::service::{Service, ServiceRequest};

    #[test]
    fn every_op_reads_back() {
        let ping = ServiceRequest {
            generation: 1,
            service: Service::Ping { nonce: "7f".into() },
        };
        for op in [
            MonitorOp::Status { probe: true },
            MonitorOp::Halt {
                timeout_ms: Some(15_000),
            },
            MonitorOp::Kill {},
            MonitorOp::Wait {
                what: WaitFor::Ended,
                timeout_ms: None,
            },
            MonitorOp::session(&ping, true),
            MonitorOp::Release { number: 3 },
        ] {
            let mut request = MonitorRequest::new(op);
            request.note = Some("why".into());
            let line = request.to_line();
            assert!(line.ends_with('\n'));
            assert_eq!(MonitorRequest::parse(line.as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn an_unknown_op_is_told_from_a_broken_line() {
        let unknown = MonitorRequest::parse(br#"{"op":"fly"}"#).unwrap_err();
        assert!(matches!(unknown, MonitorRequestError::UnknownOp(op) if op == "fly"));
        let broken = MonitorRequest::parse(b"{").unwrap_err();
        assert!(matches!(broken, MonitorRequestError::Malformed(_)));
        assert!(MonitorRequest::parse(br#"{"op":"release"}"#).is_err());
    }

    #[test]
    fn fields_of_later_releases_are_ignored() {
        assert!(MonitorRequest::parse(br#"{"op":"status","later":1}"#).is_ok());
    }
}
