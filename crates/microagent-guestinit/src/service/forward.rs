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
use crate::context::Context;
use microagent_types::GuestPort;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::service::{ServiceAnswer, SessionOutput};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::AsFd as _;
use std::time::Duration;

/// How long a connect to one address may take; it is this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How much hosts may have on its way in all connections, as long as these are few.
const SHARED_BYTES: usize = 16 << 20;
/// How much in one of them: from a bulk that never waits for news to what many can have.
const WINDOW_BYTES: RangeInclusive<usize> = (64 << 10)..=(512 << 10);
/// The host is told again when this part of the window has been taken.
const NEWS_PART: u64 = 4;

/// Connects and relays until both directions have ended.
pub(crate) fn serve(
    mut connection: Connection,
    context: &Context,
    port: GuestPort,
    host: Option<IpAddr>,
) {
    let window_bytes = window_bytes(context.forwards.open());
    match dial(port, host) {
        Ok(server) => {
            connection.queue_frame(&Frame::control(&ServiceAnswer {
                window_bytes: Some(window_bytes as u64),
                ..ServiceAnswer::accepted()
            }));
            if connection.flush(ANSWER_LIMIT) {
                Relay::new(connection, server, window_bytes).run();
            }
        }
        Err(refusal) => refuse(connection, refusal),
    }
}

/// The window of a connection that is the last of so many.
fn window_bytes(open: u32) -> usize {
    let share = SHARED_BYTES / usize::try_from(open.max(1)).unwrap_or(usize::MAX);
    share.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end())
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

/// Who has something to say, or has gone.
struct Ready {
    host: bool,
    server: bool,
}

struct Relay {
    connection: Connection,
    server: TcpStream,
    /// Payloads as they came, none of them empty: under emulation a copy is what a bulk mostly costs.
    waiting: VecDeque<Vec<u8>>,
    /// How much of the first is written.
    written_bytes: usize,
    waiting_bytes: usize,
    window_bytes: usize,
    taken_bytes: u64,
    told_bytes: u64,
    host_ended: bool,
    server_ended: bool,
    server_shut: bool,
}

impl Relay {
    fn new(connection: Connection, server: TcpStream, window_bytes: usize) -> Self {
        Self {
            connection,
            server,
            waiting: VecDeque::new(),
            written_bytes: 0,
            waiting_bytes: 0,
            window_bytes,
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
            let ready = self.wait();
            if ready.host {
                self.take_from_host();
            }
            self.write_to_server();
            self.tell_what_is_taken();
            if ready.server {
                self.read_from_server();
            }
            self.connection.flush_some();
        }
        self.connection.linger(LINGER_LIMIT);
    }

    fn is_over(&self) -> bool {
        self.connection.is_closed() || (self.server_ended && self.server_shut)
    }

    fn wait(&self) -> Ready {
        // A host that has ended its direction is still read: it may vanish.
        let has_room = self.waiting_bytes < self.window_bytes;
        if has_room && self.connection.has_input() {
            return Ready {
                host: true,
                server: true,
            };
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
        // Whatever is not merely room to write is for a read to find out about.
        let speaks = |watched: PollFlags, fd: &PollFd<'_>| {
            !watched.is_empty() && !(fd.revents() - PollFlags::OUT).is_empty()
        };
        let mut fds = fds.iter();
        let mut next = |watched: PollFlags| {
            let fd = if watched.is_empty() { None } else { fds.next() };
            fd.is_some_and(|fd| speaks(watched, fd))
        };
        Ready {
            host: next(socket),
            server: next(server),
        }
    }

    fn take_from_host(&mut self) {
        while self.waiting_bytes < self.window_bytes {
            match self.connection.try_next() {
                Incoming::Nothing | Incoming::Closed => return,
                Incoming::Frame(frame) if frame.kind != FrameKind::Data || self.host_ended => {
                    self.connection.abandon();
                }
                Incoming::Frame(frame) if frame.payload.is_empty() => self.host_ended = true,
                Incoming::Frame(frame) if self.server_shut => {
                    self.taken_bytes += frame.payload.len() as u64;
                }
                Incoming::Frame(frame) => {
                    self.waiting_bytes += frame.payload.len();
                    self.waiting.push_back(frame.payload);
                }
            }
            // Whether more has come is for the next wait to say.
            if !self.connection.has_input() {
                return;
            }
        }
    }

    fn write_to_server(&mut self) {
        while let Some(first) = self.waiting.front() {
            let rest = &first[self.written_bytes..];
            match rustix::net::send(&self.server, rest, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.written_bytes += count;
                    self.waiting_bytes -= count;
                    self.taken_bytes += count as u64;
                    if self.written_bytes == first.len() {
                        self.waiting.pop_front();
                        self.written_bytes = 0;
                    }
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
        if (bytes - self.told_bytes) * NEWS_PART >= self.window_bytes as u64 {
            self.told_bytes = bytes;
            self.connection
                .queue_frame(&Frame::control(&SessionOutput::Taken { bytes }));
        }
    }

    /// The server takes no more; what it still says is said.
    fn lose_server(&mut self) {
        self.taken_bytes += self.waiting_bytes as u64;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.written_bytes = 0;
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

#[cfg(test)]
mod tests {
    use super::window_bytes;
    use microagent_wire::limits::GUEST_FORWARDS_MAX;

    #[test]
    fn a_few_connections_have_large_windows_and_many_have_small_ones() {
        assert_eq!(window_bytes(1), 512 << 10);
        assert_eq!(window_bytes(32), 512 << 10);
        assert_eq!(window_bytes(64), 256 << 10);
        assert_eq!(window_bytes(GUEST_FORWARDS_MAX), 64 << 10);
        let all: usize = (1..=GUEST_FORWARDS_MAX).map(window_bytes).sum();
        assert!(all < 72 << 20, "{all}");
    }
}
