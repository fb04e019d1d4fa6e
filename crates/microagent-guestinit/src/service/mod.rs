//! What a host can ask of a running guest: one file a service.
//!
//! A service gets the connection and the parsed request, answers, and keeps to the frames of
//! protocol.md 5.6. It trusts no length, path or name in it, and holds nothing when it returns.

pub(crate) mod clock;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod forward;
pub(crate) mod launch;
mod output;
mod process;
pub(crate) mod shell;
mod stdin;
pub(crate) mod sync;

use crate::connection::Connection;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::ServiceAnswer;
use std::time::Duration;

/// How long an answer may wait for a host that does not read.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the guest's end stays open for the host to take what was sent last.
pub(crate) const LINGER_LIMIT: Duration = Duration::from_mins(1);

/// Why a service does not begin.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
    pub(crate) errno: Option<i32>,
}

impl Refusal {
    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            errno: None,
        }
    }

    pub(crate) fn with_errno(mut self, errno: Option<i32>) -> Self {
        self.errno = errno;
        self
    }
}

/// Says no and ends the session.
pub(crate) fn refuse(mut connection: Connection, refusal: Refusal) {
    let answer = ServiceAnswer::refused(refusal.kind, refusal.message, refusal.errno);
    connection.send_frame(&Frame::control(&answer), ANSWER_LIMIT);
    connection.linger(ANSWER_LIMIT);
}
