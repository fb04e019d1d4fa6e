//! Published ports: a connection to the host's port becomes a `forward` session to the guest's.
//!
//! ```text
//! TCP ── bytes ──> data frames ──> guest        each direction ends by its own end of file, which
//!     <── bytes ── data frames <──              in frames is an empty one
//! ```
//!
//! A guest that refuses or does not answer in time costs its client a reset and nobody else anything.
//! One that vanishes in the middle does too: an end in order would look like the whole answer.

use super::boot::Published;
use super::event::{Event, EventSender};
use super::frame_stream::FrameReader;
use super::sessions;
use crate::backend::{GuestStream, Vm};
use microagent_os::clock;
use microagent_types::{GuestPort, HostPort, PublishSpec};
use microagent_wire::frame::{FrameKind, HEADER_BYTES, header};
use microagent_wire::guest::service::{Service, ServiceAnswer, ServiceRequest, SessionOutput};
use microagent_wire::guest::{Parsed, parse};
use microagent_wire::limits::RAW_BYTES_MAX;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

/// Connections at once, all ports together.
const CONNECTIONS_MAX: u64 = 1024;
/// Until the guest must have connected its own port, on a real processor.
pub(super) const FORWARD_LIMIT: Duration = Duration::from_secs(5);
/// Dials of the guest at once, all ports together: a crowd is let in one after the other, or each of it
/// would wait for all the rest and find the guest too slow.
const DIALS_MAX: usize = 16;
/// After a failed accept: out of descriptors is no reason to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A published port that is served. Dropping it closes the port; connections see `severed`.
#[derive(Debug)]
pub(super) struct ServedPort {
    /// What was asked.
    pub(super) spec: PublishSpec,
    /// The real port.
    pub(super) host_port: HostPort,
    /// Its connections.
    pub(super) count: Rc<Count>,
    listener: Option<TcpListener>,
    task: Option<AbortHandle>,
}

/// What all published ports of a boot share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Connections that are open.
    open: Rc<Cell<u64>>,
    dials: Rc<Semaphore>,
    forward_limit: Duration,
}

impl Shared {
    /// Nothing is open yet; the limit is that of [`FORWARD_LIMIT`] on this accelerator.
    pub(super) fn new(forward_limit: Duration) -> Self {
        Self {
            open: Rc::default(),
            dials: Rc::new(Semaphore::new(DIALS_MAX)),
            forward_limit,
        }
    }
}

/// Connections of one port.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Now.
    pub(super) open: Cell<u64>,
    /// In this boot.
    pub(super) total: Cell<u64>,
    /// Reset because there were too many, and told of in no record yet.
    pub(super) turned_away: Cell<u64>,
    /// Bytes to the guest.
    pub(super) bytes_in: Cell<u64>,
    /// Bytes from the guest.
    pub(super) bytes_out: Cell<u64>,
}

/// A connection over a published port that has begun or ended.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The port of the host.
    pub(crate) host_port: HostPort,
    /// Its number among the connections of that port.
    pub(crate) number: u64,
    /// What it was, once it has ended.
    pub(crate) end: Option<ConnectionEnd>,
}

/// What a connection was.
#[derive(Debug)]
pub(crate) struct ConnectionEnd {
    /// Bytes to the guest.
    pub(crate) bytes_in: u64,
    /// Bytes from the guest.
    pub(crate) bytes_out: u64,
    /// How long it was open.
    pub(crate) duration: Duration,
    /// Who closed it.
    pub(crate) closed_by: ClosedBy,
}

/// Who closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClosedBy {
    /// The client was the first to end.
    Client,
    /// The guest's server was.
    Guest,
    /// The guest did not take it.
    Refused,
    /// The guest or its server vanished.
    Lost,
    /// The monitor, which severed it.
    Severed,
}

impl ClosedBy {
    /// The word in events.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Guest => "guest",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Severed => "severed",
        }
    }
}

impl Drop for ServedPort {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl ServedPort {
    /// A bound port that nobody is served at yet: connections wait in the kernel's queue.
    pub(super) fn bound(published: Published) -> Self {
        Self {
            spec: published.spec,
            host_port: published.host_port,
            count: Rc::default(),
            listener: Some(published.listener),
            task: None,
        }
    }

    /// Begins to serve: the guest is ready.
    pub(super) fn serve(
        &mut self,
        vm: Rc<dyn Vm>,
        shared: Shared,
        severed: watch::Receiver<bool>,
        events: EventSender,
    ) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        let port = Target {
            host_port: self.host_port,
            guest_port: self.spec.guest_port,
            count: self.count.clone(),
            shared,
            vm,
            severed,
            events,
        };
        self.task = Some(spawn_local(accept(listener, port)).abort_handle());
    }
}

#[derive(Clone)]
struct Target {
    host_port: HostPort,
    guest_port: GuestPort,
    count: Rc<Count>,
    shared: Shared,
    vm: Rc<dyn Vm>,
    severed: watch::Receiver<bool>,
    events: EventSender,
}

async fn accept(listener: TcpListener, port: Target) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a published port accepted nothing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let is_severed = *port.severed.borrow();
        if is_severed || port.shared.open.get() >= CONNECTIONS_MAX {
            reset(stream);
            port.count.turned_away.set(port.count.turned_away.get() + 1);
            continue;
        }
        port.shared.open.set(port.shared.open.get() + 1);
        port.count.open.set(port.count.open.get() + 1);
        port.count.total.set(port.count.total.get() + 1);
        spawn_local(connection(stream, port.clone(), port.count.total.get()));
    }
}

/// Closes so that the other side sees an error and not an end.
fn reset(stream: TcpStream) {
    // A socket that refuses the option is closed in order, which is the worst that comes of it.
    let _ = stream.set_zero_linger();
}

async fn connection(mut stream: TcpStream, port: Target, number: u64) {
    let begun = clock::monotonic();
    let host_port = port.host_port;
    let say = |end| {
        Event::Published(Connection {
            host_port,
            number,
            end,
        })
    };
    port.events.send(say(None)).await;
    let (bytes_in, bytes_out) = (Cell::new(0), Cell::new(0));
    let mut severed = port.severed.clone();
    let closed_by = tokio::select! {
        biased;
        _ = severed.wait_for(|severed| *severed) => ClosedBy::Severed,
        closed_by = forward(&mut stream, &port, &bytes_in, &bytes_out) => closed_by,
    };
    match closed_by {
        ClosedBy::Client | ClosedBy::Guest => drop(stream),
        ClosedBy::Refused | ClosedBy::Lost | ClosedBy::Severed => reset(stream),
    }
    port.shared.open.set(port.shared.open.get() - 1);
    port.count.open.set(port.count.open.get() - 1);
    let end = ConnectionEnd {
        bytes_in: bytes_in.get(),
        bytes_out: bytes_out.get(),
        duration: clock::monotonic().duration_since(begun),
        closed_by,
    };
    port.events.send(say(Some(end))).await;
}

/// Relays one connection to its end.
async fn forward(
    stream: &mut TcpStream,
    port: &Target,
    bytes_in: &Cell<u64>,
    bytes_out: &Cell<u64>,
) -> ClosedBy {
    let open = async {
        let _turn = port.shared.dials.acquire().await.ok()?;
        open(&*port.vm, port.guest_port).await
    };
    let opened = timeout(port.shared.forward_limit, open).await;
    let Ok(Some((mut frames, mut guest, window))) = opened else {
        return ClosedBy::Refused;
    };
    // Small messages both ways are as likely as bulk; a socket that refuses is slower.
    let _ = stream.set_nodelay(true);
    let (mut from_client, mut to_client) = stream.split();
    let (client_ended, guest_ended) = (Cell::new(false), Cell::new(false));
    let forth = async {
        // The frame is made where it is read: a header, and the bytes behind it.
        let mut buffer = vec![0; HEADER_BYTES + RAW_BYTES_MAX];
        loop {
            let room = window.room().await.min(RAW_BYTES_MAX);
            let read = from_client.read(&mut buffer[HEADER_BYTES..HEADER_BYTES + room]);
            let read = read.await.unwrap_or(0);
            buffer[..HEADER_BYTES].copy_from_slice(&header(FrameKind::Data, read));
            let frame = &buffer[..HEADER_BYTES + read];
            // The empty frame is the end of this direction.
            if guest.write_all(frame).await.is_err() || read == 0 {
                client_ended.set(true);
                return;
            }
            window.sent(read);
            for count in [bytes_in, &port.count.bytes_in] {
                count.set(count.get() + read as u64);
            }
        }
    };
    let back = async {
        while let Ok(Some(frame)) = frames.next().await {
            if frame.kind == FrameKind::Control {
                window.hear(&frame.payload);
                continue;
            }
            if frame.kind != FrameKind::Data || guest_ended.get() {
                return ClosedBy::Lost;
            }
            if frame.payload.is_empty() {
                guest_ended.set(true);
                // A client that is gone already needs to hear nothing.
                let _ = to_client.shutdown().await;
                if client_ended.get() {
                    return ClosedBy::Client;
                }
                // Whether the guest goes on listening is still to be seen.
                continue;
            }
            if to_client.write_all(&frame.payload).await.is_err() {
                return ClosedBy::Client;
            }
            for count in [bytes_out, &port.count.bytes_out] {
                count.set(count.get() + frame.payload.len() as u64);
            }
        }
        if guest_ended.get() {
            ClosedBy::Guest
        } else {
            ClosedBy::Lost
        }
    };
    tokio::pin!(forth, back);
    tokio::select! {
        closed_by = &mut back => closed_by,
        () = &mut forth => if guest_ended.get() { ClosedBy::Guest } else { back.await },
    }
}

type Opened = (
    FrameReader<tokio::io::ReadHalf<GuestStream>>,
    tokio::io::WriteHalf<GuestStream>,
    Window,
);

/// How much may be on its way to the guest's server: what lies in the device because nobody takes it can
/// stop what the server says for good.
#[derive(Debug)]
struct Window {
    bytes_max: u64,
    sent: Cell<u64>,
    taken: Cell<u64>,
    changed: Notify,
}

impl Window {
    /// The window that a guest has told; without one nothing is held back.
    fn new(bytes_max: Option<u64>) -> Self {
        Self {
            bytes_max: bytes_max.unwrap_or(u64::MAX),
            sent: Cell::new(0),
            taken: Cell::new(0),
            changed: Notify::new(),
        }
    }

    /// Waits until something may be sent, and says how much.
    async fn room(&self) -> usize {
        loop {
            let outstanding = self.sent.get().saturating_sub(self.taken.get());
            let room = self.bytes_max.saturating_sub(outstanding);
            if room > 0 {
                return usize::try_from(room).unwrap_or(usize::MAX);
            }
            self.changed.notified().await;
        }
    }

    fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Hears what the guest says between its data.
    fn hear(&self, payload: &[u8]) {
        if let Ok(Parsed::Known(SessionOutput::Taken { bytes })) = parse::<SessionOutput>(payload) {
            // A hostile guest can open the window, which is its own, and not make it count backwards.
            self.taken.set(self.taken.get().max(bytes));
            self.changed.notify_one();
        }
    }
}

async fn open(vm: &dyn Vm, port: GuestPort) -> Option<Opened> {
    let request = ServiceRequest {
        generation: 1,
        service: Service::Forward { port, host: None },
    };
    let stream = sessions::open(vm, &request.to_json()).await.ok()?;
    let (reader, writer) = tokio::io::split(stream);
    let mut frames = FrameReader::from_guest(reader);
    let answer = frames.next().await.ok()??;
    let answer: ServiceAnswer = serde_json::from_slice(&answer.payload).ok()?;
    let window = Window::new(answer.window_bytes);
    answer.ok.then_some((frames, writer, window))
}
