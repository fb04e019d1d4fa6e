//! One framed connection to the host, on any stream socket.
//!
//! Nothing here blocks unless it is told how long: a session has to hear a signal while the host does
//! not take its output. Output waits in a buffer whose owner looks at [`Connection::has_room`] before
//! it reads more from a process; input is taken frame by frame. A vsock, a Unix socket pair and
//! anything else that is a stream socket will do.

use crate::clock::{Moment, timespec};
use microagent_wire::frame::{Frame, FrameDecoder, FrameKind, HEADER_BYTES, Sender, header};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Bytes of output that wait for the host before their source is left alone.
const OUTPUT_BYTES_HIGH: usize = 256 << 10;
/// Most bytes of one send. Beyond this the kernel spreads a packet over several pieces of memory, and
/// vhost-device-vsock 0.3 loses such a packet without a word.
const SEND_BYTES_MAX: usize = 32_000;
/// How long a wait for the host goes on before whether to wait is asked again.
const ATTENTION_PAUSE: Duration = Duration::from_millis(500);
/// Bytes asked for in one read, from the host as from a file.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// Bytes asked for in one read of a process's output: with its header such a frame fills whole packets.
const OUTPUT_READ_BYTES: usize = READ_BYTES - HEADER_BYTES;
/// Bytes asked for until one read has given that much: most sessions never touch a large buffer.
const FIRST_READ_BYTES: usize = 4 << 10;

/// A connection to the host.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    decoder: FrameDecoder,
    input: Vec<u8>,
    input_at: usize,
    input_end: usize,
    output: Vec<u8>,
    output_at: usize,
    /// What the next reads ask for, from the host and from processes.
    input_read_bytes: usize,
    output_read_bytes: usize,
    is_closed: bool,
}

/// What a look at the socket gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A frame.
    Frame(Frame),
    /// Nothing yet.
    Nothing,
    /// The host is gone, or has sent what is no frame.
    Closed,
}

impl Connection {
    /// Takes a connected stream socket; it becomes non-blocking.
    ///
    /// # Errors
    /// When the descriptor can't be made non-blocking.
    pub fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            decoder: FrameDecoder::new(Sender::Host),
            input: Vec::new(),
            input_at: 0,
            input_end: 0,
            output: Vec::new(),
            output_at: 0,
            input_read_bytes: FIRST_READ_BYTES,
            output_read_bytes: FIRST_READ_BYTES,
            is_closed: false,
        })
    }

    /// What to poll.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the host is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether output waits.
    pub fn has_output(&self) -> bool {
        self.output_at < self.output.len()
    }

    /// Whether bytes have been received that were not yet looked at: no poll announces them again.
    pub fn has_input(&self) -> bool {
        self.input_at < self.input_end && !self.is_closed
    }

    /// Whether more output may be queued from a source that can wait.
    pub fn has_room(&self) -> bool {
        self.output.len() - self.output_at < OUTPUT_BYTES_HIGH
    }

    /// Queues a whole frame, as [`Frame::control`] makes them.
    pub fn queue_frame(&mut self, frame: &Frame) {
        self.queue(frame.kind, &frame.payload);
    }

    /// Queues one frame; raw payloads hold at most `READ_BYTES`.
    pub fn queue(&mut self, kind: FrameKind, payload: &[u8]) {
        if self.is_closed {
            return;
        }
        self.make_way();
        self.output.extend_from_slice(&header(kind, payload.len()));
        self.output.extend_from_slice(payload);
    }

    /// Whether one read gave as much as was asked for: more may be there than the source can hold.
    pub(crate) const fn is_full_read(count: usize) -> bool {
        count == OUTPUT_READ_BYTES
    }

    /// Queues what one read gives. Gives the count of bytes read, of which at most `keep_bytes_max` are
    /// queued; zero is the end of the source.
    pub fn queue_from(
        &mut self,
        kind: FrameKind,
        source: BorrowedFd<'_>,
        keep_bytes_max: u64,
    ) -> rustix::io::Result<usize> {
        if !self.is_closed {
            self.make_way();
        }
        // Straight behind what waits, after room for the header.
        let begin = self.output.len();
        self.output
            .resize(begin + HEADER_BYTES + self.output_read_bytes, 0);
        let payload = begin + HEADER_BYTES;
        let result = rustix::io::read(source, &mut self.output[payload..]);
        let count = *result.as_ref().unwrap_or(&0);
        if count == self.output_read_bytes {
            self.output_read_bytes = OUTPUT_READ_BYTES;
        }
        let kept = usize::try_from(keep_bytes_max)
            .unwrap_or(usize::MAX)
            .min(count);
        if kept > 0 && !self.is_closed {
            self.output[begin..payload].copy_from_slice(&header(kind, kept));
            self.output.truncate(payload + kept);
        } else {
            self.output.truncate(begin);
        }
        result
    }

    fn make_way(&mut self) {
        // Seldom, since it moves what waits.
        if self.output_at > OUTPUT_BYTES_HIGH / 2 {
            self.output.drain(..self.output_at);
            self.output_at = 0;
        }
    }

    /// Sends what the socket takes now.
    pub fn flush_some(&mut self) {
        while self.has_output() && !self.is_closed {
            let end = self.output.len().min(self.output_at + SEND_BYTES_MAX);
            let rest = &self.output[self.output_at..end];
            match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) if count < rest.len() => {
                    self.output_at += count;
                    return;
                }
                Ok(count) => self.output_at += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.close(),
            }
        }
        if !self.has_output() {
            self.output.clear();
            self.output_at = 0;
        }
    }

    /// Sends everything that waits, until the host is gone or the time is up.
    pub fn flush(&mut self, limit: Duration) -> bool {
        let deadline = Moment::now().after(limit);
        loop {
            self.flush_some();
            if !self.has_output() {
                return !self.is_closed;
            }
            if self.is_closed || !self.wait(PollFlags::OUT, deadline) {
                return false;
            }
        }
    }

    /// Sends until there is room for more, however long the host takes. False when the host is gone, or
    /// `stops` says so, which is asked twice a second.
    pub fn make_room(&mut self, stops: &dyn Fn() -> bool) -> bool {
        loop {
            self.flush_some();
            if self.is_closed || stops() {
                return false;
            }
            if self.has_room() {
                return true;
            }
            self.wait(PollFlags::OUT, Moment::now().after(ATTENTION_PAUSE));
        }
    }

    /// Sends everything, however long the host takes. As [`Connection::make_room`].
    pub fn drain(&mut self, stops: &dyn Fn() -> bool) -> bool {
        loop {
            self.flush_some();
            if self.is_closed || stops() {
                return false;
            }
            if !self.has_output() {
                return true;
            }
            self.wait(PollFlags::OUT, Moment::now().after(ATTENTION_PAUSE));
        }
    }

    /// The next frame, however long the host takes. Closed when it is gone, or `stops` says so.
    pub fn await_next(&mut self, stops: &dyn Fn() -> bool) -> Incoming {
        loop {
            match self.next(ATTENTION_PAUSE) {
                Incoming::Nothing if stops() => return Incoming::Closed,
                Incoming::Nothing => {}
                other => return other,
            }
        }
    }

    /// Queues one frame and sends everything.
    pub fn send_frame(&mut self, frame: &Frame, limit: Duration) -> bool {
        self.queue_frame(frame);
        self.flush(limit)
    }

    /// The next frame, if it is here.
    pub fn try_next(&mut self) -> Incoming {
        loop {
            if let Some(frame) = self.decoded() {
                return frame;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Incoming::Nothing,
                Err(()) => return Incoming::Closed,
            }
        }
    }

    /// The next frame; `Nothing` when the time is up.
    pub fn next(&mut self, limit: Duration) -> Incoming {
        let deadline = Moment::now().after(limit);
        loop {
            match self.try_next() {
                Incoming::Nothing if self.wait(PollFlags::IN, deadline) => {}
                other => return other,
            }
        }
    }

    fn decoded(&mut self) -> Option<Incoming> {
        if self.is_closed {
            return Some(Incoming::Closed);
        }
        let mut rest = &self.input[self.input_at..self.input_end];
        let before = rest.len();
        let result = self.decoder.decode(&mut rest);
        self.input_at += before - rest.len();
        match result {
            Ok(None) => None,
            Ok(Some(frame)) => Some(Incoming::Frame(frame)),
            Err(_) => {
                self.close();
                Some(Incoming::Closed)
            }
        }
    }

    fn fill(&mut self) -> Result<bool, ()> {
        // Initialised once: zeroing it for every small read is what a session would mostly do.
        self.input.resize(self.input_read_bytes, 0);
        self.input_at = 0;
        let result = recv(&self.socket, &mut self.input[..], RecvFlags::empty());
        self.input_end = result.as_ref().map_or(0, |(count, _)| *count);
        if self.input_end == self.input_read_bytes {
            self.input_read_bytes = READ_BYTES;
        }
        match result {
            Ok((0, _)) => {
                self.close();
                Err(())
            }
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(_) => {
                self.close();
                Err(())
            }
        }
    }

    /// Gives the host up: it broke the rules of the session.
    pub fn abandon(&mut self) {
        self.close();
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.output.clear();
        self.output_at = 0;
    }

    /// Waits for readiness; false when the time is up.
    fn wait(&self, flags: PollFlags, deadline: Moment) -> bool {
        let left = deadline.left();
        if left.is_zero() {
            return false;
        }
        let mut fds = [PollFd::new(&self.socket, flags)];
        !matches!(poll(&mut fds, Some(&timespec(left))), Ok(0))
    }

    /// After the last frame: lets the host close first, since what a vsock device still holds is lost
    /// when the guest's end goes away before it was delivered.
    pub fn linger(mut self, limit: Duration) {
        let deadline = Moment::now().after(limit);
        self.flush(limit);
        while !self.is_closed && !deadline.has_passed() {
            if matches!(self.next(deadline.left()), Incoming::Closed) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Incoming};
    use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn frames_come_one_by_one_from_one_write() {
        let (mut host, guest) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(guest).unwrap();
        assert_eq!(connection.next(SHORT), Incoming::Nothing);
        let frames = [b"a".to_vec(), Vec::new(), vec![7; 60_000]]
            .map(|payload| Frame::new(FrameKind::Data, payload));
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        std::io::Write::write_all(&mut host, &bytes).unwrap();
        for frame in frames {
            assert_eq!(
                connection.next(Duration::from_secs(5)),
                Incoming::Frame(frame)
            );
        }
        drop(host);
        assert_eq!(connection.next(SHORT), Incoming::Closed);
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        let (mut host, guest) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(guest).unwrap();
        std::io::Write::write_all(&mut host, &[0xff; 5]).unwrap();
        assert_eq!(connection.next(Duration::from_secs(5)), Incoming::Closed);
        assert!(connection.is_closed());
    }

    #[test]
    fn output_waits_for_a_host_that_does_not_read() {
        let (mut host, guest) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(guest).unwrap();
        let mut queued = 0;
        while connection.has_room() {
            connection.queue(FrameKind::Stdout, &[1; 1000]);
            connection.flush_some();
            queued += 1;
        }
        assert!(!connection.flush(SHORT));
        let reader = std::thread::spawn(move || {
            let mut frames = 0;
            while let Some(frame) = read_frame(&mut host, Sender::Guest).unwrap() {
                assert_eq!(frame.payload, [1; 1000]);
                frames += 1;
            }
            frames
        });
        assert!(connection.flush(Duration::from_secs(10)));
        drop(connection);
        assert_eq!(reader.join().unwrap(), queued);
    }

    #[test]
    fn a_message_reaches_a_blocking_reader() {
        let (mut host, guest) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(guest).unwrap();
        write_frame(&mut host, &Frame::end_of(FrameKind::Stdin)).unwrap();
        assert!(connection.send_frame(&Frame::control(&serde_json::json!({"ok": true})), SHORT));
        let frame = read_frame(&mut host, Sender::Guest).unwrap().unwrap();
        assert_eq!(frame.payload, br#"{"ok":true}"#);
    }
}
