//! Pieces of bytes that go from one thread of a layer to the next, and their way back when they are
//! empty. Both ways are bounded, so a slow reader makes its writer wait.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use crate::{
    cancel::CancelToken,
    error::OciError,
    limits::{CHUNK_BYTES, CHUNKS_WAITING_MAX},
};

/// What comes next.
pub(super) enum Message {
    Chunk(Vec<u8>),
    /// Nothing comes behind it.
    End(Result<(), OciError>),
}

/// The end that fills chunks.
pub(super) struct Filler {
    to: SyncSender<Message>,
    empty: Receiver<Vec<u8>>,
}

/// Where the chunks come out.
pub(super) struct Chunks {
    from: Receiver<Message>,
    empty: SyncSender<Vec<u8>>,
}

/// What brings chunks back that somebody else took.
pub(super) type Empty = SyncSender<Vec<u8>>;

/// Why filling stopped.
pub(super) enum Stopped {
    /// Nobody listens.
    Gone,
    Cancelled,
    TooLarge,
    Failed(io::Error),
}

/// A new way for chunks.
pub(super) fn chunks() -> (Filler, Chunks) {
    let (to, from) = sync_channel(CHUNKS_WAITING_MAX);
    // As many as can be under way, and one in each hand.
    let (empty_to, empty) = sync_channel(2 * CHUNKS_WAITING_MAX + 2);
    (
        Filler { to, empty },
        Chunks {
            from,
            empty: empty_to,
        },
    )
}

impl Filler {
    /// Passes everything on that `from` gives, up to so many bytes.
    pub(super) fn pass(
        &self,
        from: &mut dyn Read,
        limit_bytes: u64,
        cancel: &CancelToken,
    ) -> Result<(), Stopped> {
        let mut total = 0u64;
        loop {
            if cancel.is_cancelled() {
                return Err(Stopped::Cancelled);
            }
            let mut chunk = self.empty.try_recv().unwrap_or_default();
            chunk.resize(CHUNK_BYTES, 0);
            let mut filled = 0;
            let mut ended = false;
            while filled < chunk.len() && !ended {
                match from.read(&mut chunk[filled..]) {
                    Ok(0) => ended = true,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Stopped::Failed(error)),
                }
            }
            chunk.truncate(filled);
            total += filled as u64;
            if total > limit_bytes {
                return Err(Stopped::TooLarge);
            }
            if filled > 0 && self.to.send(Message::Chunk(chunk)).is_err() {
                return Err(Stopped::Gone);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Says how it ended.
    pub(super) fn end(self, end: Result<(), OciError>) {
        // Who listened has gone when this fails; then there is nobody to tell.
        let _ = self.to.send(Message::End(end));
    }
}

impl Chunks {
    /// Waits for what comes next. Without a word of the other end, it was cancelled.
    pub(super) fn next(&self) -> Message {
        self.from
            .recv()
            .unwrap_or(Message::End(Err(OciError::Cancelled)))
    }

    /// Gives a chunk back, to be filled again.
    pub(super) fn give_back(&self, chunk: Vec<u8>) {
        give_back(&self.empty, chunk);
    }

    /// How others give them back, when they are passed on.
    pub(super) fn empty(&self) -> Empty {
        self.empty.clone()
    }
}

/// Gives a chunk back, to be filled again.
pub(super) fn give_back(empty: &Empty, chunk: Vec<u8>) {
    if chunk.capacity() > 0 {
        match empty.try_send(chunk) {
            // More buffers than can wait, or nobody who would fill them.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}
