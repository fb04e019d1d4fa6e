//! The `forward` service: bytes to and from a TCP port of the guest itself.
//!
//! Only addresses of the guest are dialled: a host that could name any address would have the guest's
//! network as its own. An empty data frame is the end of one direction, both ways.

use super::{ANSWER_LIMIT, LINGER_LIMIT, Refusal, refuse};
use crate::connection::{Connection, Incoming};
use microagent_types::GuestPort;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::service::ServiceAnswer;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// How long a connect to one address may take; it is this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Bytes that wait for the guest's server before the host is left alone.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Connects and relays until both directions have ended.
pub(crate) fn serve(mut connection: Connection, port: GuestPort, host: Option<IpAddr>) {
    match dial(port, host) {
        Ok(server) => {
            connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
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

    /// The server takes no more; what it still says is said.
    fn lose_server(&mut self) {
        self.waiting.clear();
        self.host_ended = true;
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
