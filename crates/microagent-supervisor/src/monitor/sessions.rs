//! Sessions: a client of `monitor.sock` and a service of the guest, joined byte for byte.
//!
//! The monitor dials the service port, sends the client's first frame, says so to the client and then
//! copies both ways without looking: frames are the business of the two ends, which check each other's
//! lengths. What is the monitor's business: how many there are, who opened them, when they end, and
//! that they can be severed at once.

use super::bridge::{BUFFER_BYTES, Side, Tally, Unread, bridge};
use super::event::{Event, EventSender};
use super::local_api::write_answer;
use crate::backend::{BackendError, BackendErrorKind, GuestStream, Vm};
use microagent_os::clock::{self, Deadline};
use microagent_os::local_socket::AsyncStream;
use microagent_types::VsockPort;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::monitor::response::MonitorAnswer;
use serde_json::Value;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;

/// Sessions at once.
pub(crate) const SESSIONS_MAX: usize = 256;
/// Until the guest must have taken the first frame.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(5);

/// An admitted session.
pub(crate) struct SessionGrant {
    /// Its number in this boot.
    pub(crate) number: u64,
    /// The generation that the guest speaks.
    pub(crate) generation: u32,
    /// The first frame's object.
    pub(crate) request: Value,
    /// The VM ends with it.
    pub(crate) bound: bool,
    /// The machine to dial.
    pub(crate) vm: Rc<dyn Vm>,
    /// True once sessions are cut.
    pub(crate) severed: watch::Receiver<bool>,
}

impl std::fmt::Debug for SessionGrant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SessionGrant")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What a session was.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    /// Its number.
    pub(crate) number: u64,
    /// Bytes from the client to the guest.
    pub(crate) bytes_in: u64,
    /// Bytes from the guest to the client.
    pub(crate) bytes_out: u64,
    /// How long it was open.
    pub(crate) duration: Duration,
    /// Who closed it.
    pub(crate) closed_by: ClosedBy,
}

/// Who closed a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClosedBy {
    /// The client.
    Client,
    /// The guest.
    Guest,
    /// The monitor, which severed it.
    Severed,
    /// It never opened.
    NotOpened,
}

impl ClosedBy {
    /// The word in events.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Guest => "guest",
            Self::Severed => "severed",
            Self::NotOpened => "not_opened",
        }
    }
}

/// Opens a session, relays it to its end and says so.
pub(crate) async fn run(client: BufReader<AsyncStream>, grant: SessionGrant, events: EventSender) {
    let started = clock::monotonic();
    let number = grant.number;
    let tally = Tally::default();
    let closed_by = relay(client, grant, &tally).await;
    let ended = SessionEnd {
        number,
        bytes_in: tally.from_first.get(),
        bytes_out: tally.from_second.get(),
        duration: Instant::duration_since(&clock::monotonic(), started),
        closed_by,
    };
    events.send(Event::SessionEnded(ended)).await;
}

async fn relay(
    mut client: BufReader<AsyncStream>,
    mut grant: SessionGrant,
    tally: &Tally,
) -> ClosedBy {
    let opened = tokio::select! {
        opened = open(&*grant.vm, &grant.request) => opened,
        _ = grant.severed.wait_for(|severed| *severed) => Err(severed()),
    };
    let guest = match opened {
        Ok(guest) => guest,
        Err(fault) => {
            write_answer(&mut client, &MonitorAnswer::failure(fault)).await;
            return ClosedBy::NotOpened;
        }
    };
    let answer = MonitorAnswer {
        number: Some(grant.number),
        generation: Some(grant.generation),
        ..MonitorAnswer::success()
    };
    if !write_answer(&mut client, &answer).await {
        return ClosedBy::Client;
    }
    let joint = async {
        // A VM that is bound to this client ends with it: there is nobody left to be told.
        let unread = if grant.bound {
            Unread::Left
        } else {
            Unread::ReadOut
        };
        match bridge(&mut client, guest, unread, tally).await {
            Side::First => ClosedBy::Client,
            Side::Second => {
                if grant.bound {
                    until_closed(&mut client).await;
                }
                ClosedBy::Guest
            }
        }
    };
    tokio::select! {
        biased;
        _ = grant.severed.wait_for(|severed| *severed) => ClosedBy::Severed,
        closed_by = joint => closed_by,
    }
}

/// A client that the VM is bound to says by its connection that it is still there, also when the guest
/// has nothing more to say in it. What it still sends is for nobody.
async fn until_closed(client: &mut BufReader<AsyncStream>) {
    let mut unread = [0; 1024];
    while client.read(&mut unread).await.is_ok_and(|count| count > 0) {}
}

fn severed() -> Fault {
    Fault::new(
        FaultKind::WrongState,
        "sessions with this guest are severed",
    )
}

/// Dials the service port and sends the first frame.
pub(crate) async fn open(vm: &dyn Vm, request: &Value) -> Result<GuestStream, Fault> {
    let mut stream = vm
        .dial(VsockPort::SERVICE)
        .await
        .map_err(|error| dial_fault(&error))?;
    let deadline = Deadline::after(FIRST_FRAME_LIMIT);
    let frame = Frame::new(FrameKind::Control, request.to_string().into_bytes());
    match timeout(deadline.remaining(), stream.write_all(&frame.encode())).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => {
            let fault = Fault::new(FaultKind::Guest, "the guest closed the session at once");
            Err(fault.with_cause(error.to_string()))
        }
        Err(_) => Err(Fault::new(
            FaultKind::Guest,
            "the guest did not take the request of a session",
        )
        .with_details(|details| {
            details.waited_for = Some("the guest to take a request".to_owned());
            details.deadline_ms = Some(clock::whole_ms(FIRST_FRAME_LIMIT));
        })),
    }
}

fn dial_fault(error: &BackendError) -> Fault {
    let kind = match error.kind {
        BackendErrorKind::Resource => FaultKind::Resource,
        BackendErrorKind::NotFound | BackendErrorKind::Guest | BackendErrorKind::Timeout => {
            FaultKind::Guest
        }
        _ => FaultKind::Backend,
    };
    Fault::from_error(kind, error)
        .with_details(|details| details.component = Some(error.component.to_owned()))
}

const _: () = assert!(BUFFER_BYTES == 64 * 1024, "what the protocol promises");
