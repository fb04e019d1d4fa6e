//! The first thread of a layer: reads its blob as it lies there and proves its digest.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Compression, Layer,
    chunks::{Chunks, Filler, Message, Stopped},
};
use crate::{
    arrival::NotArrived, blob::BlobReader, cancel::CancelToken, error::OciError,
    hash::RunningDigest,
};

/// Passes the blob on and says at its end whether it is the one that was promised. `limit_bytes` is of
/// what is passed on.
pub(super) fn read(
    layer: &Layer,
    passed: Arc<AtomicU64>,
    limit_bytes: u64,
    cancel: &CancelToken,
    to: &Filler,
) -> Result<(), OciError> {
    let needs_proof = layer.blob.needs_proof();
    let mut source = HashingReader {
        inner: layer.blob.reader(),
        passed,
        // What is not packed is digested once, as content.
        digest: (needs_proof
            && layer.digest.is_some()
            && (layer.compression != Compression::None || layer.digest != layer.diff_id))
            .then(RunningDigest::default),
    };
    let blob = layer.name();
    match to.pass(&mut source, limit_bytes, cancel) {
        Ok(()) => {}
        Err(Stopped::Gone) => return Ok(()),
        Err(Stopped::Cancelled) => return Err(OciError::Cancelled),
        Err(Stopped::TooLarge) => {
            return Err(OciError::LayerTooLarge {
                blob: blob.to_owned(),
                limit_bytes,
            });
        }
        Err(Stopped::Failed(source)) => return Err(reading_error(blob, source)),
    }
    let (Some(expected), Some(digest)) = (layer.digest, source.digest) else {
        return Ok(());
    };
    let found = digest.finish();
    if found == expected {
        return Ok(());
    }
    Err(OciError::DigestMismatch {
        blob: blob.to_owned(),
        expected,
        found,
    })
}

/// What to say of a failed read: why the bytes did not arrive, or what reading them met.
fn reading_error(blob: &str, source: io::Error) -> OciError {
    let blob = blob.to_owned();
    match source.downcast::<NotArrived>() {
        Ok(NotArrived::Cancelled) => OciError::Cancelled,
        Ok(NotArrived::Failed(source)) => OciError::Download { blob, source },
        Err(source) => OciError::Read { blob, source },
    }
}

/// Counts and digests what passes.
struct HashingReader {
    inner: BlobReader,
    passed: Arc<AtomicU64>,
    digest: Option<RunningDigest>,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        if let Some(digest) = &mut self.digest {
            digest.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// The bytes that the first thread has read, for a decoder.
pub(super) struct StoredBytes {
    from: Chunks,
    chunk: Vec<u8>,
    at: usize,
    end: Option<Result<(), OciError>>,
}

impl StoredBytes {
    pub(super) fn new(from: Chunks) -> Self {
        Self {
            from,
            chunk: Vec::new(),
            at: 0,
            end: None,
        }
    }

    /// Passes over what is left; whether the blob is there and what it was promised to be.
    pub(super) fn finish(mut self) -> Result<(), OciError> {
        loop {
            match self.end {
                Some(end) => return end,
                None => self.advance(),
            }
        }
    }

    fn advance(&mut self) {
        self.at = 0;
        self.from.give_back(std::mem::take(&mut self.chunk));
        match self.from.next() {
            Message::Chunk(chunk) => self.chunk = chunk,
            Message::End(end) => self.end = Some(end),
        }
    }
}

impl Read for StoredBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for StoredBytes {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.len() {
            match &self.end {
                None => self.advance(),
                Some(Ok(())) => break,
                // What it was is told by `finish`.
                Some(Err(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}
