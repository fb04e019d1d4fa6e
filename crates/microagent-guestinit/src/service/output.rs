//! One output stream of a process, counted and capped on its way to the host.

use crate::connection::Connection;
use microagent_wire::frame::FrameKind;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The reading end of a process's output.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<OwnedFd>,
    kind: FrameKind,
    bytes: u64,
    bytes_max: u64,
}

impl Output {
    /// Takes the non-blocking end; no end is a stream that has ended.
    pub(super) fn new(pipe: Option<OwnedFd>, kind: FrameKind, bytes_max: u64) -> Self {
        Self {
            pipe,
            kind,
            bytes: 0,
            bytes_max,
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
            Ok(count) => self.bytes += count as u64,
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
