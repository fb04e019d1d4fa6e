//! Everything that can happen to a monitor, as one enum that one loop takes.
//!
//! Whoever notices something (a socket, a process, a timer, a task that is done) says so here and acts
//! on nothing; the loop in `owner` is the only place that decides and records.

use super::control::{ConnectionNumber, ControlEnd, ControlSender};
use super::local_api::Client;
use super::sessions::SessionEnd;
use crate::backend::{BackendError, ConfinementReport, Launched, VmEvent};
use microagent_os::process::Signal;
use microagent_wire::guest::control::GuestMessage;
use microagent_wire::monitor::request::MonitorRequest;
use microagent_wire::supervisor::response::GuestSync;
use tokio::sync::mpsc;

/// Events that wait for the loop. Senders wait when it is full, so what they read from stops too.
const EVENTS_MAX: usize = 64;

/// Something happened.
pub(crate) enum Event {
    /// A phase of the launch begins.
    PhaseBegun(Phase),
    /// Confinement is set up.
    Confined(ConfinementReport),
    /// Phases 5 to 7 are done, or which of them failed.
    Launched(Result<Launched, LaunchFailure>),
    /// The guest said something on its control connection.
    GuestSaid {
        /// On which connection.
        number: ConnectionNumber,
        /// What.
        message: GuestMessage,
        /// How to answer.
        sender: ControlSender,
    },
    /// A control connection is gone.
    ControlEnded {
        /// Which.
        number: ConnectionNumber,
        /// Why.
        end: ControlEnd,
    },
    /// The files of the first boot are sent, or could not be.
    FilesSent(Result<(), String>),
    /// Something happened to the VM. None: nothing will be heard of it any more.
    Vm(Option<VmEvent>),
    /// The serial port has given all it had.
    ConsoleDrained,
    /// A client of `monitor.sock` asks.
    Asked {
        /// What.
        request: MonitorRequest,
        /// Who, and how to answer.
        client: Client,
    },
    /// A session is over.
    SessionEnded(SessionEnd),
    /// Something happened on the mediation channel.
    Mediated(super::mediation::MediationEvent),
    /// A connection over a published port has begun or ended.
    Published(super::publish::Connection),
    /// The guest wrote back its mounts before a stop, or did not.
    GuestSynced(GuestSync),
    /// A signal came.
    Signalled(Signal),
}

/// Which phase of a launch failed, and why.
#[derive(Debug)]
pub(crate) struct LaunchFailure {
    /// The phase by its word in reports.
    pub(crate) phase: Phase,
    /// The backend's failure.
    pub(crate) error: BackendError,
}

/// The phases of a start, in order, by the words of reports and the start pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The lease is taken.
    Lease,
    /// The mediation target is tried.
    Mediation,
    /// Ports are bound, disks locked, logs opened.
    Publish,
    /// Sockets listen.
    Sockets,
    /// The network engine starts.
    Network,
    /// Confinement is set up.
    Confinement,
    /// The VMM starts.
    Launch,
    /// The guest is awaited.
    Hello,
    /// The guest learns who it is.
    BootSpec,
    /// The guest gets ready.
    Ready,
}

impl Phase {
    /// The word in reports.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Mediation => "mediation",
            Self::Publish => "publish",
            Self::Sockets => "sockets",
            Self::Network => "network",
            Self::Confinement => "confinement",
            Self::Launch => "launch",
            Self::Hello => "hello",
            Self::BootSpec => "boot_spec",
            Self::Ready => "ready",
        }
    }

    /// Whether the VM may have been launched when this phase fails.
    pub(crate) fn is_after_launch(self) -> bool {
        self > Self::Confinement
    }
}

/// Where events are sent.
#[derive(Debug, Clone)]
pub(crate) struct EventSender(mpsc::Sender<Event>);

impl EventSender {
    /// The queue of one monitor.
    pub(crate) fn new_queue() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        (Self(sender), receiver)
    }

    /// Queues an event, waiting for room. After the loop has ended it goes nowhere.
    pub(crate) async fn send(&self, event: Event) {
        // A loop that has ended needs to know nothing any more.
        let _ = self.0.send(event).await;
    }
}
