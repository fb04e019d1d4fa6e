//! The `forward` service: bytes to and from a TCP port of the guest itself.
//!
//! Only addresses of the guest are dialled: a host that could name any address would have the guest's
//! network as its own. An empty data frame is the end of one direction, both ways.
//!
//! The connection goes on being read however little the server reads: the host is told how much may be on
//! its way and what the server has taken. Otherwise the device in between, which could not hand on what the
//! host sent, may stop to carry what the server says.

use super::{ANSWER_LIMIT, LINGER_LIMIT, Refusal, refuse};
use crate::connection::{Connection, Incoming};
use microagent_types::GuestPort;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::service::{ServiceAnswer, SessionOutput};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// How long a connect to one address may take; it is this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How much a host may have on its way.
const WINDOW_BYTES: usize = 128 << 10;
/// Bytes that wait for the guest's server before the host is left alone: one that keeps to the window is
/// always read.
const WAITING_BYTES_MAX: usize = 2 * WINDOW_BYTES;
/// Bytes that the server takes before the host is told again.
const NEWS_BYTES: u64 = WINDOW_BYTES as u64 / 4;

/// Connects and relays until both directions have ended.
pub(crate) fn serve(mut connection: Connection, port: GuestPort, host: Option<IpAddr>) {
    match dial(port, host) {
        Ok(server) => {
            connection.queue_frame(&Frame::control(&ServiceAnswer {
                window_bytes: Some(WINDOW_BYTES as u64),
                ..ServiceAnswer::accepted()
            }));
            if connection.flush(ANSWER_LIMIT) {
                Relay::new(connection, server).run();
            }
        }
        Err(refusal) => refuse(connection, refusal),
    }
}

fn dial(port: GuestPort, host: Option<IpAddr>) -> Result<TcpStream, Refusal> {
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let addresses = match &host {
        Some(address) if !is_own(*address) => {
            let message = format!("`{address}` is no address of this guest");
            return Err(Refusal::new(FaultKind::Usage, message));
        }
        Some(address) => std::slice::from_ref(address),
        None => &loopback[..],
    };
    let mut errno = None;
    for address in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(*address, port.get()), CONNECT_LIMIT) {
            Ok(server) => return Ok(server),
            Err(error) => errno = errno.or(error.raw_os_error()),
        }
    }
    let message = format!("nothing accepts on the guest's port `{port}`");
    Err(Refusal::new(FaultKind::Unavailable, message).with_errno(errno))
}

/// Whether an interface of this machine has the address: only then can a socket be bound to it.
fn is_own(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && (address.is_loopback() || TcpListener::bind((address, 0)).is_ok())
}

struct Relay {
    connection: Connection,
    server: TcpStream,
    waiting: VecDeque<u8>,
    taken_bytes: u64,
    told_bytes: u64,
    host_ended: bool,
    server_ended: bool,
    server_shut: bool,
}

impl Relay {
    fn new(connection: Connection, server: TcpStream) -> Self {
        Self {
            connection,
            server,
            waiting: VecDeque::new(),
            taken_bytes: 0,
            told_bytes: 0,
            host_ended: false,
            server_ended: false,
            server_shut: false,
        }
    }

    fn run(mut self) {
        if self.server.set_nonblocking(true).is_err() {
            return;
        }
        let _ = self.server.set_nodelay(true);
        while !self.is_over() {
            self.wait();
            self.take_from_host();
            self.write_to_server();
            self.tell_what_is_taken();
            self.read_from_server();
            self.connection.flush_some();
        }
        self.connection.linger(LINGER_LIMIT);
    }

    fn is_over(&self) -> bool {
        self.connection.is_closed() || (self.server_ended && self.server_shut)
    }

    fn wait(&self) {
        // A host that has ended its direction is still read: it may vanish.
        let has_room = self.waiting.len() < WAITING_BYTES_MAX;
        if has_room && self.connection.has_input() {
            return;
        }
        let mut fds = Vec::with_capacity(2);
        let mut socket = PollFlags::empty();
        socket.set(PollFlags::IN, has_room);
        socket.set(PollFlags::OUT, self.connection.has_output());
        if !socket.is_empty() {
            fds.push(PollFd::from_borrowed_fd(self.connection.as_fd(), socket));
        }
        let mut server = PollFlags::empty();
        server.set(
            PollFlags::IN,
            !self.server_ended && self.connection.has_room(),
        );
        server.set(PollFlags::OUT, !self.waiting.is_empty());
        if !server.is_empty() {
            fds.push(PollFd::from_borrowed_fd(self.server.as_fd(), server));
        }
        // An interrupted wait is a short one. Without a limit: an idle connection is a good one, and it
        // ends with either side.
        let _ = poll(&mut fds, None);
    }

    fn take_from_host(&mut self) {
        while self.waiting.len() < WAITING_BYTES_MAX {
            match self.connection.try_next() {
                Incoming::Nothing | Incoming::Closed => return,
                Incoming::Frame(frame) if frame.kind != FrameKind::Data || self.host_ended => {
                    self.connection.abandon();
                }
                Incoming::Frame(frame) if frame.payload.is_empty() => self.host_ended = true,
                Incoming::Frame(frame) if self.server_shut => {
                    self.taken_bytes += frame.payload.len() as u64;
                }
                Incoming::Frame(frame) => self.waiting.extend(frame.payload),
            }
        }
    }

    fn write_to_server(&mut self) {
        loop {
            let (front, _) = self.waiting.as_slices();
            if front.is_empty() {
                break;
            }
            match rustix::net::send(&self.server, front, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.taken_bytes += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lose_server(),
            }
        }
        if self.host_ended && !self.server_shut {
            self.server_shut = true;
            let _ = self.server.shutdown(Shutdown::Write);
        }
    }

    fn tell_what_is_taken(&mut self) {
        let bytes = self.taken_bytes;
        if bytes - self.told_bytes >= NEWS_BYTES {
            self.told_bytes = bytes;
            self.connection
                .queue_frame(&Frame::control(&SessionOutput::Taken { bytes }));
        }
    }

    /// The server takes no more; what it still says is said.
    fn lose_server(&mut self) {
        self.taken_bytes += self.waiting.len() as u64;
        self.waiting.clear();
        self.server_shut = true;
    }

    fn read_from_server(&mut self) {
        if self.server_ended || !self.connection.has_room() {
            return;
        }
        let result = self
            .connection
            .queue_from(FrameKind::Data, self.server.as_fd(), u64::MAX);
        match result {
            Ok(count) if count > 0 => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) => self.end_server(),
            Err(_) => {
                self.lose_server();
                self.end_server();
            }
        }
    }

    fn end_server(&mut self) {
        self.server_ended = true;
        self.connection.queue(FrameKind::Data, &[]);
    }
}
