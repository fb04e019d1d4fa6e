//! The calls of the host, in plain types: what `host_compute` carries out on Windows and what a test plays
//! anywhere.
//!
//! ```text
//! the monitor's loop ── a thread of the pool ──► a call ──► the compute service
//!        ▲                                                        │
//!        └──────────── bounded channel ◄── notification ──────────┘
//! ```
//!
//! A call may take as long as the service takes, so the loop never makes one itself. What the service tells
//! later is put into a channel by a thread of the system and taken by the loop when it is ready. It must
//! decide nothing.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use microagent_supervisor::backend::BackendErrorKind;
use microagent_types::AbsPath;
use tokio::sync::mpsc;

use crate::events::Notification;
use crate::host::{Findings, WrongHost};
use crate::result_code::{self, Answer};

/// Notifications of a system that are not taken yet.
pub const EVENTS_MAX: usize = 16;
/// Connections of the guest to one port that are not taken yet.
pub const CONNECTIONS_MAX: usize = 256;

/// How far a call that did not fail has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// To its end.
    Done,
    /// Its end is told by a notification.
    Pending,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{call}` answered 0x{code:08x}{}{detail}", if detail.is_empty() { "" } else { ": " })]
pub struct CallError {
    /// Which call.
    pub call: &'static str,
    /// Its answer.
    pub code: u32,
    /// What the service says about it.
    pub detail: String,
}

impl CallError {
    /// The result of a call that answered with a code.
    pub fn judge(call: &'static str, code: u32, detail: String) -> Result<Progress, Self> {
        match result_code::answer(code) {
            Answer::Done => Ok(Progress::Done),
            Answer::Pending => Ok(Progress::Pending),
            Answer::Failed(_) => Err(Self { call, code, detail }),
        }
    }

    /// What it means to a caller.
    pub fn kind(&self) -> BackendErrorKind {
        match result_code::answer(self.code) {
            Answer::Failed(kind) => kind,
            Answer::Done | Answer::Pending => BackendErrorKind::Failed,
        }
    }

    /// Whether it says that a system has ended or is not there.
    pub fn says_gone(&self) -> bool {
        result_code::answer_to_end(self.code) == Answer::Done
    }
}

/// The services of this host.
pub trait Host: Send + Sync {
    /// What there is. Quick, and the same for as long as the process lives.
    fn look(&self) -> Result<Findings, WrongHost>;

    /// `GrantVmAccess`: the worker process of a system may open a file.
    fn grant_access(&self, system: &str, path: &AbsPath) -> Result<(), CallError>;

    /// `HcsCreateComputeSystem`, then `HcsRegisterComputeSystemCallback`. The channel holds more than one
    /// system ever tells; what finds it full is lost.
    fn create(
        &self,
        id: &str,
        document: &str,
        told: mpsc::Sender<Notification>,
    ) -> Result<(Arc<dyn System>, Progress), CallError>;

    /// `HcsOpenComputeSystem`.
    fn open(&self, id: &str) -> Result<Arc<dyn System>, CallError>;

    /// `HcnOpenNetwork`: whether a network is there.
    fn find_network(&self, id: &str) -> Result<(), CallError>;

    /// `HcnCreateNetwork`.
    fn create_network(&self, id: &str, settings: &str) -> Result<(), CallError>;

    /// `HcnCreateEndpoint`, then `HcnQueryEndpointProperties`, which it gives.
    fn create_endpoint(&self, network: &str, id: &str, settings: &str)
    -> Result<String, CallError>;

    /// `HcnDeleteEndpoint`.
    fn delete_endpoint(&self, id: &str) -> Result<(), CallError>;
}

/// A compute system. Dropping the last value of it closes our handle, and the service ends what nobody
/// holds.
pub trait System: Send + Sync {
    /// `HcsStartComputeSystem`.
    fn start(&self) -> Result<Progress, CallError>;

    /// `HcsShutdownComputeSystem`.
    fn shut_down(&self) -> Result<Progress, CallError>;

    /// `HcsTerminateComputeSystem`.
    fn terminate(&self) -> Result<Progress, CallError>;

    /// `HcsGetComputeSystemProperties` without a query.
    fn properties(&self) -> Result<String, CallError>;

    /// `HcsModifyComputeSystem`.
    fn modify(&self, settings: &str) -> Result<Progress, CallError>;
}

/// Hyper-V sockets. A connection has the type of a TCP connection: it is read, written and waited for like
/// one, and its addresses mean nothing.
pub trait Sockets: Send + Sync {
    /// Connects to a port of a guest within a limit.
    fn dial(&self, runtime_id: &str, port: u32, limit: Duration) -> io::Result<TcpStream>;

    /// Listens for what one guest dials, and for nobody else.
    fn listen(&self, runtime_id: &str, port: u32) -> io::Result<Arc<dyn Listening>>;
}

/// A socket that listens.
pub trait Listening: Send + Sync {
    /// Waits for a connection; an error once it is closed.
    fn accept(&self) -> io::Result<TcpStream>;

    /// Stops listening. Whoever waits in `accept` gets an error.
    fn close(&self);
}
