//! Where the bytes of an image go.
//!
//! A sink begins as zeros. The writer says which ranges hold bytes, which of them became free
//! again, and how long the image is; it never reads back.

use std::io;

/// A place for an image, all zeros at first.
pub trait Sink {
    /// Puts `bytes` at `offset`; the sink grows as needed.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes a range that was written earlier zeros again, without storage where possible.
    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()>;

    /// The final length; what was not written up to there reads as zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// An image in memory, for small ones.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MemorySink {
    bytes: Vec<u8>,
}

impl MemorySink {
    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&mut self, offset: u64, len: usize) -> io::Result<&mut [u8]> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::OutOfMemory)?;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        Ok(&mut self.bytes[start..end])
    }
}

impl Sink for MemorySink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.range(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.range(offset, len)?.fill(0);
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.bytes
            .resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, bytes)
    }

    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()> {
        (**self).clear(offset, len)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        (**self).set_len(len)
    }
}
