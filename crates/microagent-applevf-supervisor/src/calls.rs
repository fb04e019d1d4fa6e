//! The calls of the framework, in plain types: what `framework.rs` carries out on a Mac and what a test
//! plays anywhere.
//!
//! ```text
//! the monitor's loop ── call ──►  the machine's dispatch queue  ── block ──►  the framework
//!        ▲                                                                        │
//!        └──────────── oneshot or bounded channel ◄── completion, delegate ───────┘
//! ```
//!
//! The framework wants a machine made and touched on one serial queue. So no call here waits: it puts a
//! block on that queue and gives the receiving end of its answer, and whatever the framework calls back
//! is put into a channel and taken by the loop when it is ready. It must decide nothing.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};

use crate::config::MachinePlan;
use crate::events::{CallError, FrameworkEvent};
use crate::host::{Findings, WrongHost};

/// Events of a machine that are not taken yet.
pub const EVENTS_MAX: usize = 16;
/// Connections of the guest to one port that are not taken yet; one more is refused.
pub const CONNECTIONS_MAX: usize = 256;

/// The answer to a call. It never comes when the machine's object has gone.
pub type Answer<T> = oneshot::Receiver<Result<T, CallError>>;

/// The framework of this host.
pub trait Framework {
    /// What there is. Quick, and the same for as long as the process lives.
    fn look(&self) -> Result<Findings, WrongHost>;

    /// Makes the objects of a plan, validates them and makes the machine, which does not run yet.
    fn make(
        &self,
        plan: &MachinePlan,
        serial: SerialEnds,
        events: mpsc::Sender<FrameworkEvent>,
    ) -> Result<Rc<dyn Machine>, CallError>;
}

/// The machine's ends of its serial port.
#[derive(Debug)]
pub struct SerialEnds {
    /// What is typed to the guest.
    pub input: OwnedFd,
    /// Where the guest's output goes.
    pub output: OwnedFd,
}

/// One machine. Each method puts one call on its queue.
pub trait Machine {
    /// `startWithCompletionHandler:`.
    fn start(&self) -> Answer<()>;

    /// `stopWithCompletionHandler:`: the machine is taken away, the guest is not asked.
    fn stop(&self) -> Answer<()>;

    /// `pauseWithCompletionHandler:`, where `canPause`.
    fn pause(&self) -> Answer<()>;

    /// `resumeWithCompletionHandler:`, where `canResume`.
    fn resume(&self) -> Answer<()>;

    /// `connectToPort:completionHandler:`. The descriptor is a duplicate, and outlives the framework's
    /// connection object.
    fn connect(&self, port: u32) -> Answer<OwnedFd>;

    /// `setSocketListener:forPort:`. Connections go into the channel as duplicates; one that finds it
    /// full or closed is refused.
    fn listen(&self, port: u32, accepted: mpsc::Sender<OwnedFd>);

    /// `removeSocketListenerForPort:`.
    fn stop_listening(&self, port: u32);

    /// Sets `attachment` of every network device to nil.
    fn detach_network(&self) -> Answer<()>;
}
