//! The mediation channel's guest and its target joined, so that bulk both ways does not stop for good.
//!
//! The device between guest and monitor carries nothing out of a guest as long as it holds bytes that the
//! guest has no room for, once it could not hand something to the monitor at once (`docs/protocol.md`
//! section 6). So it is given a piece only when it holds nothing, and as long as it does, there is room for
//! what the guest says before it comes to its reading:
//!
//! ```text
//! target ── piece ──> [gate] ──> device ──> guest     shut while a piece is under way, and while the
//!                                                     target is behind with what the guest has said
//! target <── held <───────────── device <── guest     read up to LOW; up to HIGH while a piece waits or
//!                                                     is under way
//! ```
//!
//! What is left: a guest that leaves more unread than its kernel holds, and goes on to write more than HIGH
//! without reading any of it. Neither side knows half-close: the end of one ends both, after what it sent
//! was delivered. When one side stops taking, what the other still says is carried on for a while, as in
//! `bridge`.

use super::bridge::{LAST_BYTES_LIMIT, Side, Tally};
use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes of the guest that are held while its target takes none.
const LOW_BYTES: usize = 64 << 10;
/// The same while something waits for the guest.
const HIGH_BYTES: usize = 576 << 10;
/// Bytes on their way to the guest at once.
const PIECE_BYTES: usize = 128 << 10;
/// The piece that passes a gate that the target keeps shut, one each time: an answer that ends it all.
const SMALL_PIECE_BYTES: usize = 4 << 10;
/// Bytes that every guest has room for, whatever it reads: half of what its kernel gives a socket.
const ROOM_OF_A_GUEST_BYTES: u64 = 128 << 10;
/// What socket and device may hold of a guest that was not read for a while.
const DEVICE_BYTES: usize = 256 << 10;
/// After this time without a byte of the guest, they hold nothing of it.
const QUIET: Duration = Duration::from_millis(20);
/// Connections of a boot that may hold more than `LOW_BYTES` at once.
const EXTRAS_MAX: usize = 32;
/// Turns before other tasks get theirs: fewer operations than a task may do in one.
const TURNS_MAX: usize = 16;

/// Places for holding more than usual, shared by the connections of a boot.
#[derive(Debug, Clone)]
pub(super) struct Extras(Rc<Cell<usize>>);

impl Default for Extras {
    fn default() -> Self {
        Self(Rc::new(Cell::new(EXTRAS_MAX)))
    }
}

/// One of these places. Dropping it gives it back.
#[derive(Debug)]
struct Extra(Extras);

impl Extras {
    fn take(&self) -> Option<Extra> {
        let left = self.0.get().checked_sub(1)?;
        self.0.set(left);
        Some(Extra(self.clone()))
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}

/// Bytes that were read and not yet written.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    start: usize,
}

impl Held {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads at most so many bytes more.
    fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        source: &mut S,
        bytes_max: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let end = self.bytes.len();
        self.bytes.resize(end + bytes_max, 0);
        let mut buffer = ReadBuf::new(&mut self.bytes[end..]);
        let polled = Pin::new(source).poll_read(context, &mut buffer);
        let read = buffer.filled().len();
        self.bytes.truncate(end + read);
        polled.map_ok(|()| read)
    }

    /// Writes what is taken now, at most so many bytes.
    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        destination: &mut S,
        bytes_max: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let end = self.bytes.len().min(self.start.saturating_add(bytes_max));
        let polled = Pin::new(destination).poll_write(context, &self.bytes[self.start..end]);
        if let Poll::Ready(Ok(written)) = polled {
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += written;
            if self.is_empty() {
                self.bytes.clear();
                self.start = 0;
                self.bytes.shrink_to(LOW_BYTES);
            }
        }
        polled
    }
}

/// What has become of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    /// It says more.
    speaks: bool,
    /// It takes more.
    takes: bool,
}

/// The target was so far behind that the guest was not read, and the device may hold what it said.
#[derive(Debug)]
struct Jam {
    /// Nothing is read before what is held has become little.
    is_resting: bool,
    /// A small piece has passed.
    is_used: bool,
    /// Bytes to read before the device can't hold any of that time.
    left_bytes: usize,
    quiet: Pin<Box<Sleep>>,
}

impl Jam {
    fn begin() -> Self {
        Self {
            is_resting: true,
            is_used: false,
            left_bytes: DEVICE_BYTES,
            quiet: Box::pin(sleep(QUIET)),
        }
    }

    /// The guest has said so much.
    fn heard(&mut self, bytes: usize) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
        self.quiet.as_mut().reset(Instant::now() + QUIET);
    }
}

struct Joint<'a, G, T> {
    guest: G,
    target: T,
    tally: &'a Tally,
    extras: &'a Extras,
    extra: Option<Extra>,
    guest_end: End,
    target_end: End,
    from_guest: Held,
    jam: Option<Jam>,
    to_guest: Held,
    /// A piece was given to the device, which has not handed on all of it.
    is_under_way: bool,
    last_bytes: Option<Pin<Box<Sleep>>>,
}

/// Joins a guest and its target until one ends, and says which: the guest is the first side. Flushing the
/// guest's stream waits until the device has taken what was written. Cancel by dropping.
pub(super) async fn join<G, T>(guest: G, target: T, tally: &Tally, extras: &Extras) -> Side
where
    G: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let open = End {
        speaks: true,
        takes: true,
    };
    let mut joint = Joint {
        guest,
        target,
        tally,
        extras,
        extra: None,
        guest_end: open,
        target_end: open,
        from_guest: Held::default(),
        jam: None,
        to_guest: Held::default(),
        is_under_way: false,
        last_bytes: None,
    };
    let closed_by = poll_fn(|context| joint.poll(context)).await;
    // The other side may be gone already, which is what is wanted.
    let _ = joint.target.shutdown().await;
    let _ = joint.guest.shutdown().await;
    closed_by
}

impl<G, T> Joint<'_, G, T>
where
    G: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Side> {
        for _ in 0..TURNS_MAX {
            let moved = [
                self.read_guest(context),
                self.write_target(context),
                self.await_device(context),
                self.read_target(context),
                self.write_guest(context),
            ];
            if let Some(side) = self.closed_by(context) {
                return Poll::Ready(side);
            }
            if !moved.contains(&true) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Who has ended it, once that is settled.
    fn closed_by(&mut self, context: &mut Context<'_>) -> Option<Side> {
        if !self.guest_end.speaks && (self.from_guest.is_empty() || !self.target_end.takes) {
            return Some(if self.target_end.takes {
                Side::First
            } else {
                Side::Second
            });
        }
        if !self.target_end.speaks && (self.to_guest.is_empty() || !self.guest_end.takes) {
            return Some(if self.guest_end.takes {
                Side::Second
            } else {
                Side::First
            });
        }
        if self.guest_end.takes && self.target_end.takes {
            return None;
        }
        // What comes within the limit is counted; what is cut short has no reader.
        let limit = self
            .last_bytes
            .get_or_insert_with(|| Box::pin(sleep(LAST_BYTES_LIMIT)));
        let is_over = limit.as_mut().poll(context).is_ready();
        is_over.then_some(if self.guest_end.takes {
            Side::Second
        } else {
            Side::First
        })
    }

    /// How much of the guest may be held now.
    fn held_max(&mut self) -> usize {
        let is_awaited = self.is_under_way || !self.to_guest.is_empty();
        let held = self.from_guest.len();
        if held <= LOW_BYTES / 2 && !is_awaited {
            self.extra = None;
        } else if held > LOW_BYTES / 2 && is_awaited && self.extra.is_none() {
            self.extra = self.extras.take();
        }
        if self.extra.is_some() {
            HIGH_BYTES
        } else {
            LOW_BYTES
        }
    }

    fn read_guest(&mut self, context: &mut Context<'_>) -> bool {
        if !self.guest_end.speaks || !self.target_end.takes {
            return false;
        }
        let held = self.from_guest.len();
        let room = self.held_max().saturating_sub(held).min(LOW_BYTES);
        if room == 0 {
            let jam = self.jam.get_or_insert_with(Jam::begin);
            jam.is_resting = true;
            jam.left_bytes = DEVICE_BYTES;
        }
        if let Some(jam) = &mut self.jam {
            if jam.is_resting && held > LOW_BYTES / 2 {
                return false;
            }
            if std::mem::take(&mut jam.is_resting) {
                jam.heard(0);
            }
        }
        match self.from_guest.poll_fill(&mut self.guest, room, context) {
            Poll::Pending => self.ends_jam(context),
            Poll::Ready(Ok(read)) if read > 0 => {
                if let Some(jam) = &mut self.jam {
                    jam.heard(read);
                }
                true
            }
            Poll::Ready(_) => {
                self.guest_end.speaks = false;
                true
            }
        }
    }

    /// The guest says nothing more for now: whether the device holds nothing of it either.
    fn ends_jam(&mut self, context: &mut Context<'_>) -> bool {
        let is_over = self
            .jam
            .as_mut()
            .is_some_and(|jam| jam.left_bytes == 0 || jam.quiet.as_mut().poll(context).is_ready());
        if is_over {
            self.jam = None;
        }
        is_over
    }

    fn write_target(&mut self, context: &mut Context<'_>) -> bool {
        if self.from_guest.is_empty() || !self.target_end.takes {
            return false;
        }
        match self
            .from_guest
            .poll_drain(&mut self.target, usize::MAX, context)
        {
            Poll::Pending => false,
            Poll::Ready(Ok(written)) => {
                let count = &self.tally.from_first;
                count.set(count.get() + written as u64);
                true
            }
            Poll::Ready(Err(_)) => {
                self.target_end.takes = false;
                true
            }
        }
    }

    fn await_device(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_under_way {
            return false;
        }
        match Pin::new(&mut self.guest).poll_flush(context) {
            Poll::Pending => false,
            Poll::Ready(flushed) => {
                self.is_under_way = false;
                self.guest_end.takes &= flushed.is_ok();
                true
            }
        }
    }

    fn read_target(&mut self, context: &mut Context<'_>) -> bool {
        if !self.to_guest.is_empty() || !self.target_end.speaks || !self.guest_end.takes {
            return false;
        }
        match self
            .to_guest
            .poll_fill(&mut self.target, PIECE_BYTES, context)
        {
            Poll::Pending => false,
            Poll::Ready(Ok(read)) if read > 0 => true,
            Poll::Ready(_) => {
                self.target_end.speaks = false;
                true
            }
        }
    }

    /// How many bytes may be handed to the device now.
    fn gate(&mut self) -> usize {
        if self.is_under_way {
            return 0;
        }
        // What a target that takes no more has said is all that matters.
        let has_room = self.jam.is_none() && self.from_guest.len() <= LOW_BYTES;
        if has_room || !self.target_end.takes || self.sent() < ROOM_OF_A_GUEST_BYTES {
            return PIECE_BYTES;
        }
        let Some(jam) = &mut self.jam else { return 0 };
        if std::mem::replace(&mut jam.is_used, true) {
            0
        } else {
            SMALL_PIECE_BYTES
        }
    }

    fn sent(&self) -> u64 {
        self.tally.from_second.get()
    }

    fn write_guest(&mut self, context: &mut Context<'_>) -> bool {
        if self.to_guest.is_empty() || !self.guest_end.takes {
            return false;
        }
        let bytes_max = self.gate();
        if bytes_max == 0 {
            return false;
        }
        match self
            .to_guest
            .poll_drain(&mut self.guest, bytes_max, context)
        {
            Poll::Pending => false,
            Poll::Ready(Ok(written)) => {
                self.is_under_way = true;
                let count = &self.tally.from_second;
                count.set(count.get() + written as u64);
                true
            }
            Poll::Ready(Err(_)) => {
                self.guest_end.takes = false;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
