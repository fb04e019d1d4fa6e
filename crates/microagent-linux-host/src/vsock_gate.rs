//! A gate between the monitor and the guest's vsock device, shut while the guest stands still.
//!
//! `vhost-device-vsock` (0.3.0) ends its own thread when anything happens on one of its sockets between the
//! moment at which QEMU takes the queues of a paused guest away and the one at which it has given them back:
//! a dial, a byte, room for a byte, an end. No packet of that boot passes any more then. So while the gate is
//! shut nothing happens: whoever reads, writes or dials waits, and what is closed is closed when it opens.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::device_stream::unread_bytes;

/// Between two looks whether the device has taken what it was given.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// Most that is read of a stream whose reader has gone, so that it ends and does not break.
const DISCARDED_BYTES_MAX: usize = 4 << 20;

/// The gate of one VM. Clones are the same gate; it begins open.
#[derive(Debug, Clone, Default)]
pub struct VsockGate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    opened: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_shut: bool,
    number: u64,
    streams: HashMap<u64, Waiting>,
    /// Closed by their holders while the gate was shut.
    late: Vec<Arc<UnixStream>>,
}

/// A stream that is open, and who waits for it.
#[derive(Debug)]
struct Waiting {
    socket: Weak<UnixStream>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a stream is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Takes bytes from the device.
    Read,
    /// Gives it bytes.
    Write,
}

impl VsockGate {
    /// Shuts it: from here on nothing happens on the device's sockets.
    pub fn shut(&self) {
        self.state().is_shut = true;
    }

    /// Waits until the device has taken what it was given, within the limit. A guest that reads nothing
    /// keeps its bytes in the socket, which the device then does not look at.
    pub async fn settled(&self, limit: Duration) {
        let taken = async {
            while self.has_untaken() {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(limit, taken).await;
    }

    /// Opens it: everything that waited goes on, and what was closed meanwhile is closed.
    pub fn open(&self) {
        let (wakers, late) = {
            let mut state = self.state();
            state.is_shut = false;
            let streams = state.streams.values_mut();
            let wakers: Vec<Waker> = streams
                .flat_map(|waiting| [waiting.reader.take(), waiting.writer.take()])
                .flatten()
                .collect();
            (wakers, std::mem::take(&mut state.late))
        };
        for socket in late {
            end(&socket);
        }
        wakers.into_iter().for_each(Waker::wake);
        self.0.opened.notify_waiters();
    }

    /// Returns when it is open.
    pub(crate) async fn passed(&self) {
        loop {
            let opened = self.0.opened.notified();
            if !self.state().is_shut {
                return;
            }
            opened.await;
        }
    }

    /// Whether a stream may go on now; if not, it is woken when it may.
    pub(crate) fn poll_pass(
        &self,
        number: u64,
        direction: Direction,
        context: &Context<'_>,
    ) -> Poll<()> {
        let mut state = self.state();
        if !state.is_shut {
            return Poll::Ready(());
        }
        if let Some(waiting) = state.streams.get_mut(&number) {
            let place = match direction {
                Direction::Read => &mut waiting.reader,
                Direction::Write => &mut waiting.writer,
            };
            *place = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Makes a stream known; the number is its own.
    pub(crate) fn enter(&self, socket: &Arc<UnixStream>) -> u64 {
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        let waiting = Waiting {
            socket: Arc::downgrade(socket),
            reader: None,
            writer: None,
        };
        state.streams.insert(number, waiting);
        number
    }

    /// Ends a stream's writing, now or when the gate opens.
    pub(crate) fn end_writing(&self, socket: &Arc<UnixStream>) {
        let mut state = self.state();
        if state.is_shut {
            state.late.push(socket.clone());
        } else {
            // The other end may be gone already, which is what is wanted.
            let _ = shutdown(socket.as_fd(), Shutdown::Write);
        }
    }

    /// Forgets a stream, which its holder drops, and keeps its socket while the gate is shut.
    pub(crate) fn leave(&self, number: u64, socket: &Arc<UnixStream>) {
        let mut state = self.state();
        state.streams.remove(&number);
        if state.is_shut {
            state.late.push(socket.clone());
        }
    }

    fn has_untaken(&self) -> bool {
        let state = self.state();
        let mut sockets = state
            .streams
            .values()
            .filter_map(|waiting| waiting.socket.upgrade());
        sockets.any(|socket| unread_bytes(socket.as_fd()).is_ok_and(|bytes| bytes > 0))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; and if it did, what is in there would still be true.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a stream that nobody holds any more. What waits to be read is taken out first: a socket that is
/// closed over it is a broken one for the device, which then tells the guest nothing.
fn end(socket: &UnixStream) {
    let _ = shutdown(socket.as_fd(), Shutdown::Write);
    let mut bytes = vec![0; 64 << 10];
    let mut left = DISCARDED_BYTES_MAX;
    while left > 0 {
        match recv(socket.as_fd(), &mut bytes, RecvFlags::DONTWAIT) {
            Ok((read, _)) if read > 0 => left = left.saturating_sub(read),
            Ok(_) | Err(_) => break,
        }
    }
}
