//! Gathers neighbouring writes, so that many small files cost few calls of the sink.

use crate::{image::ImageError, sink::Sink, size::BLOCK_BYTES};

/// How much is gathered before it is written.
const GATHERED_BYTES_MAX: usize = 1 << 20;
/// What is at least this long is handed to the sink as it is.
const DIRECT_BYTES_MIN: usize = 128 << 10;

/// A sink with a buffer in front.
pub(crate) struct Output<S> {
    sink: S,
    gathered: Vec<u8>,
    offset: u64,
}

impl<S: Sink> Output<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self {
            sink,
            gathered: Vec::with_capacity(GATHERED_BYTES_MAX),
            offset: 0,
        }
    }

    /// Writes `bytes` from the start of `block` on.
    pub(crate) fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), ImageError> {
        let offset = block * BLOCK_BYTES;
        let follows = self.offset + self.gathered.len() as u64 == offset;
        if !follows || self.gathered.len() + bytes.len() > GATHERED_BYTES_MAX {
            self.flush()?;
            self.offset = offset;
        }
        if self.gathered.is_empty() && bytes.len() >= DIRECT_BYTES_MIN {
            self.offset = offset + bytes.len() as u64;
            return self.write_now(offset, bytes);
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes past the buffer. The range must not overlap one that was gathered.
    pub(crate) fn write_now(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ImageError> {
        self.sink
            .write_at(offset, bytes)
            .map_err(|source| ImageError::Write { offset, source })
    }

    /// Hands over what was gathered.
    pub(crate) fn flush(&mut self) -> Result<(), ImageError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let (offset, len) = (self.offset, self.gathered.len() as u64);
        self.sink
            .write_at(offset, &self.gathered)
            .map_err(|source| ImageError::Write { offset, source })?;
        self.gathered.clear();
        self.offset = offset + len;
        Ok(())
    }

    /// Makes blocks zeros again.
    pub(crate) fn clear(&mut self, start: u64, len: u64) -> Result<(), ImageError> {
        self.flush()?;
        let offset = start * BLOCK_BYTES;
        self.sink
            .clear(offset, len * BLOCK_BYTES)
            .map_err(|source| ImageError::Write { offset, source })
    }

    /// Sets the final length.
    pub(crate) fn finish(mut self, len: u64) -> Result<(), ImageError> {
        self.flush()?;
        self.sink.set_len(len).map_err(|source| ImageError::Write {
            offset: len,
            source,
        })
    }
}
