//! One output stream of a process, counted and capped on its way to the host.

use crate::connection::Connection;
use microagent_wire::frame::FrameKind;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a pipe is made to hold once it turns out to carry much: a process that writes is woken less often.
const LARGE_PIPE_BYTES: usize = 256 << 10;

/// Gives a pipe more room. Terminals have none to give, and nobody depends on it.
pub(super) fn enlarge(pipe: BorrowedFd<'_>) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, LARGE_PIPE_BYTES);
}

/// The reading end of a process's output.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<OwnedFd>,
    kind: FrameKind,
    bytes: u64,
    bytes_max: u64,
    /// The pipe has been made larger, or can't be.
    is_large: bool,
}

impl Output {
    /// Takes the non-blocking end; no end is a stream that has ended.
    pub(super) fn new(pipe: Option<OwnedFd>, kind: FrameKind, bytes_max: u64) -> Self {
        Self {
            pipe,
            kind,
            bytes: 0,
            bytes_max,
            is_large: false,
        }
    }

    /// Bytes written by the process, dropped ones included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether some were dropped.
    pub(super) fn is_truncated(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// What to poll while somebody may still write.
    pub(super) fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once into the connection. The end of the stream closes the pipe and says so to the host.
    pub(super) fn forward(&mut self, connection: &mut Connection) {
        let Some(pipe) = &self.pipe else { return };
        let keep = self.bytes_max.saturating_sub(self.bytes);
        match connection.queue_from(self.kind, pipe.as_fd(), keep) {
            Ok(0) => self.end(connection),
            Ok(count) => {
                self.bytes += count as u64;
                if Connection::is_full_read(count) && !self.is_large {
                    self.is_large = true;
                    enlarge(pipe.as_fd());
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal without a process gives EIO.
            Err(_) => self.end(connection),
        }
    }

    fn end(&mut self, connection: &mut Connection) {
        self.pipe = None;
        connection.queue(self.kind, &[]);
    }
}
