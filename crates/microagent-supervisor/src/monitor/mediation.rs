//! The mediation channel: what the guest dials on its port of the host leads to one declared target, and
//! to nothing else.
//!
//! Bytes are carried unchanged and never interpreted. A target that does not accept costs the guest its
//! connection at once: nothing falls back to anything, and it heals when the target does.

use super::bridge::{Side, bridge};
use super::event::{Event, EventSender};
use super::rate::RateLimit;
use crate::backend::{ByteStream, GuestListener, GuestStream};
use microagent_machine::spec::{Mediation, Requirement};
use microagent_os::clock;
use microagent_types::MediationTarget;
use microagent_wire::fault::{Fault, FaultKind, OsError};
use microagent_wire::supervisor::response::MediationView;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

/// Connections at once.
const CONNECTIONS_MAX: u64 = 256;
/// New connections a second over time, and at once.
const NEW_A_SECOND_MAX: u32 = 100;
const NEW_BURST_MAX: u32 = 200;
/// Between two looks at a target that no connection is open to.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Until a target must have accepted.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// Connects a target.
pub(crate) async fn dial(target: &MediationTarget) -> io::Result<Box<dyn ByteStream>> {
    let connect = async {
        match target {
            MediationTarget::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            }
            MediationTarget::Unix { path } => {
                let stream = UnixStream::connect(path).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            }
        }
    };
    timeout(DIAL_LIMIT, connect)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects a target and closes.
pub(crate) async fn probe(target: &MediationTarget) -> io::Result<()> {
    dial(target).await.map(drop)
}

/// The fault of a required target that does not accept.
pub(crate) fn unavailable(channel: &Mediation, error: &io::Error) -> Fault {
    let message = format!(
        "mediation channel `{}` is required and `{}` does not accept connections",
        channel.port, channel.target
    );
    Fault::new(FaultKind::Unavailable, message)
        .with_hint("start the service behind it first")
        .with_cause(format!("connect: {error}"))
        .with_details(|details| {
            details.port = Some(channel.port.get());
            details.os_error = error.raw_os_error().map(|code| OsError {
                code,
                name: format!("{:?}", error.kind()),
            });
        })
}

/// A channel that is served. Dropping it stops listening; connections see `severed`.
#[derive(Debug)]
pub(super) struct ServedChannel {
    facts: Rc<Facts>,
    task: AbortHandle,
    probe: AbortHandle,
}

/// What is known of a channel now.
#[derive(Debug)]
struct Facts {
    channel: Mediation,
    error: RefCell<Option<String>>,
    open: Cell<u64>,
    total: Cell<u64>,
    refused: Cell<u64>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
}

/// Something happened on a channel.
#[derive(Debug)]
pub(crate) enum MediationEvent {
    /// The target accepts again.
    Ready,
    /// It does not.
    Unready(String),
    /// A connection is carried.
    Opened {
        /// Its number.
        number: u64,
    },
    /// It has ended.
    Closed {
        /// Its number.
        number: u64,
        /// Guest to host.
        bytes_in: u64,
        /// Host to guest.
        bytes_out: u64,
        /// How long it was open.
        duration: Duration,
        /// Who closed: `guest`, `target` or `severed`.
        closed_by: &'static str,
    },
    /// A connection was refused.
    Refused(&'static str),
}

impl Drop for ServedChannel {
    fn drop(&mut self) {
        self.task.abort();
        self.probe.abort();
    }
}

impl ServedChannel {
    /// Begins to serve. `error` is what the target answered at the start.
    pub(super) fn serve(
        channel: Mediation,
        listener: Box<dyn GuestListener>,
        error: Option<String>,
        severed: watch::Receiver<bool>,
        events: EventSender,
    ) -> Self {
        let facts = Rc::new(Facts {
            channel,
            error: RefCell::new(error),
            open: Cell::new(0),
            total: Cell::new(0),
            refused: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
        });
        let task = spawn_local(accept(listener, facts.clone(), severed, events.clone()));
        let probe = spawn_local(watch_target(facts.clone(), events));
        Self {
            facts,
            task: task.abort_handle(),
            probe: probe.abort_handle(),
        }
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> u64 {
        self.facts.open.get()
    }

    /// Why the target is not ready; none when it is.
    pub(super) fn error(&self) -> Option<String> {
        self.facts.error.borrow().clone()
    }

    /// The channel as callers see it.
    pub(super) fn view(&self) -> MediationView {
        let facts = &self.facts;
        let error = self.error();
        MediationView {
            port: facts.channel.port,
            target: facts.channel.target.clone(),
            required: facts.channel.requirement == Requirement::Required,
            ready: error.is_none(),
            error,
            open_connections: facts.open.get(),
            total_connections: facts.total.get(),
            refused_connections: facts.refused.get(),
            bytes_in: facts.bytes_in.get(),
            bytes_out: facts.bytes_out.get(),
        }
    }
}

async fn accept(
    mut listener: Box<dyn GuestListener>,
    facts: Rc<Facts>,
    severed: watch::Receiver<bool>,
    events: EventSender,
) {
    let mut limit = RateLimit::new(NEW_A_SECOND_MAX, NEW_BURST_MAX, clock::monotonic());
    loop {
        let guest = match listener.accept().await {
            Ok(guest) => guest,
            Err(error) => {
                tracing::warn!(%error, "the mediation port accepts no more");
                return;
            }
        };
        if facts.open.get() >= CONNECTIONS_MAX || !limit.take(clock::monotonic()) {
            // A guest that dials without end is refused without a word, so it can't fill the history.
            facts.refused.set(facts.refused.get() + 1);
            continue;
        }
        facts.open.set(facts.open.get() + 1);
        facts.total.set(facts.total.get() + 1);
        let (facts, severed, events) = (facts.clone(), severed.clone(), events.clone());
        spawn_local(async move {
            carry(guest, &facts, severed, &events).await;
            facts.open.set(facts.open.get() - 1);
        });
    }
}

async fn carry(
    guest: GuestStream,
    facts: &Facts,
    mut severed: watch::Receiver<bool>,
    events: &EventSender,
) {
    let number = facts.total.get();
    let target = match dial(&facts.channel.target).await {
        Ok(target) => target,
        Err(error) => {
            facts.refused.set(facts.refused.get() + 1);
            let why = if error.kind() == io::ErrorKind::TimedOut {
                "target_timeout"
            } else {
                "target_refused"
            };
            note(facts, Some(error.to_string()), events).await;
            events
                .send(Event::Mediated(MediationEvent::Refused(why)))
                .await;
            return;
        }
    };
    note(facts, None, events).await;
    let begun = clock::monotonic();
    events
        .send(Event::Mediated(MediationEvent::Opened { number }))
        .await;
    let carried = tokio::select! {
        carried = bridge(guest, target) => Some(carried),
        _ = severed.wait_for(|severed| *severed) => None,
    };
    let (bytes_in, bytes_out, closed_by) = match carried {
        Some(carried) => {
            let closed_by = match carried.closed_by {
                Side::First => "guest",
                Side::Second => "target",
            };
            (carried.from_first, carried.from_second, closed_by)
        }
        None => (0, 0, "severed"),
    };
    facts.bytes_in.set(facts.bytes_in.get() + bytes_in);
    facts.bytes_out.set(facts.bytes_out.get() + bytes_out);
    let closed = MediationEvent::Closed {
        number,
        bytes_in,
        bytes_out,
        duration: clock::monotonic().duration_since(begun),
        closed_by,
    };
    events.send(Event::Mediated(closed)).await;
}

/// Keeps whether the target accepts, and tells when that changes.
async fn note(facts: &Facts, error: Option<String>, events: &EventSender) {
    let before = facts.error.replace(error.clone());
    let change = match (before, error) {
        (Some(_), None) => MediationEvent::Ready,
        (None, Some(error)) => MediationEvent::Unready(error),
        _ => return,
    };
    events.send(Event::Mediated(change)).await;
}

/// Tries the target while no connection is open to it.
async fn watch_target(facts: Rc<Facts>, events: EventSender) {
    let mut interval = tokio::time::interval(PROBE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        interval.tick().await;
        if facts.open.get() == 0 {
            let error = probe(&facts.channel.target).await.err();
            note(&facts, error.map(|error| error.to_string()), &events).await;
        }
    }
}
