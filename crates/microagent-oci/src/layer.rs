//! A layer as a stream of plain bytes that proves itself at its end.
//!
//! ```text
//! 1: read, digest of the blob  ->  2: decompress  ->  3: digest of the content  ->  caller
//!      ^----- empty chunks --------'     ^------------ empty chunks ------------------'
//! ```
//!
//! What decompresses does nothing else, since it is what takes longest; a layer that is not packed goes
//! from 1 to 3. Queues are short, so memory is bounded whatever the layer claims. The caller sees bytes
//! before they are proved and must keep nothing for good until [`LayerReader::finish`] has returned.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use microagent_tar::ByteSource;
use microagent_types::Digest;

use crate::{
    blob::Blob,
    cancel::CancelToken,
    error::OciError,
    limits::{CHUNKS_WAITING_MAX, Limits},
};

mod chunks;
mod stored;
mod unpacked;

use chunks::{Empty, Message};
use stored::StoredBytes;

/// How the bytes of a layer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one or several members.
    Gzip,
    /// zstd, one or several frames.
    Zstd,
}

impl Compression {
    /// What the first bytes of a blob say.
    pub(crate) fn detect(blob: &Blob) -> Result<Self, OciError> {
        let mut magic = [0; 4];
        let mut filled = 0;
        let mut reader = blob.reader();
        while filled < magic.len() {
            match reader.read(&mut magic[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(source) => {
                    return Err(OciError::Read {
                        blob: blob.name().to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd,
            // A frame that decoders skip, as some compressors put it in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::None,
        })
    }
}

/// A layer and everything that is promised about it.
#[derive(Debug, Clone)]
pub struct Layer {
    pub(crate) blob: Blob,
    pub(crate) compression: Compression,
    /// Of the blob as it lies there.
    pub(crate) digest: Option<Digest>,
    /// Of the blob as it lies there.
    pub(crate) size: Option<u64>,
    /// Of the plain bytes.
    pub(crate) diff_id: Option<Digest>,
}

impl Layer {
    /// What messages call it.
    pub fn name(&self) -> &str {
        self.blob.name()
    }

    /// Its length as it lies there.
    pub fn stored_bytes(&self) -> u64 {
        self.blob.len()
    }

    /// The digest that identifies it.
    pub fn digest(&self) -> Option<Digest> {
        self.digest.or(self.diff_id)
    }

    /// Starts reading. Dropping the reader ends the threads.
    pub fn open(&self, limits: Limits, cancel: &CancelToken) -> Result<LayerReader, OciError> {
        if let Some(expected) = self.size
            && expected != self.blob.len()
        {
            let blob = self.name().to_owned();
            return Err(OciError::SizeMismatch {
                blob,
                expected,
                found: self.blob.len(),
            });
        }
        let passed = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::with_capacity(3);
        let (read_to, read) = chunks::chunks();
        let packed = self.compression != Compression::None;
        let plain_bytes_max = limits.layer_plain_bytes_max;
        let stored_bytes_max = if packed { u64::MAX } else { plain_bytes_max };
        let (layer, counted, asked) = (self.clone(), Arc::clone(&passed), cancel.clone());
        threads.push(spawn("layer-read", move || {
            let end = stored::read(&layer, counted, stored_bytes_max, &asked, &read_to);
            read_to.end(end);
        })?);
        let plain = if packed {
            let (unpacked_to, unpacked) = chunks::chunks();
            let source = StoredBytes::new(read);
            let (blob, compression) = (self.name().to_owned(), self.compression);
            let asked = cancel.clone();
            threads.push(spawn("layer-unpack", move || {
                let end = unpacked::unpack(
                    &blob,
                    compression,
                    source,
                    plain_bytes_max,
                    &asked,
                    &unpacked_to,
                );
                unpacked_to.end(end);
            })?);
            unpacked
        } else {
            read
        };
        let empty = plain.empty();
        let (proved_to, proved) = sync_channel(CHUNKS_WAITING_MAX);
        let (blob, diff_id) = (self.name().to_owned(), self.diff_id);
        threads.push(spawn("layer-digest", move || {
            unpacked::prove(blob, diff_id, &plain, &proved_to);
        })?);
        Ok(LayerReader {
            proved: Some(proved),
            empty,
            chunk: Vec::new(),
            at: 0,
            end: None,
            plain_bytes: 0,
            passed,
            cancel: cancel.clone(),
            blob: self.blob.clone(),
            threads,
        })
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OciError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(OciError::Thread)
}

/// The plain bytes of a layer, in chunks.
pub struct LayerReader {
    proved: Option<Receiver<Message>>,
    empty: Empty,
    chunk: Vec<u8>,
    at: usize,
    end: Option<Result<(), OciError>>,
    plain_bytes: u64,
    passed: Arc<AtomicU64>,
    cancel: CancelToken,
    blob: Blob,
    threads: Vec<JoinHandle<()>>,
}

impl LayerReader {
    /// Counts how much of the blob has been read, for progress while somebody else has the reader.
    pub fn stored_bytes_read(&self) -> impl Fn() -> u64 + 'static {
        let passed = Arc::clone(&self.passed);
        move || passed.load(Ordering::Relaxed)
    }

    /// Reads what is left and says whether the layer was what it promised to be; its plain bytes.
    pub fn finish(mut self) -> Result<u64, OciError> {
        while !self.chunk()?.is_empty() {
            self.consume(self.chunk.len() - self.at);
        }
        Ok(self.plain_bytes)
    }

    fn next(&mut self) -> Result<(), OciError> {
        if self.cancel.is_cancelled() {
            return Err(OciError::Cancelled);
        }
        let used = std::mem::take(&mut self.chunk);
        self.at = 0;
        chunks::give_back(&self.empty, used);
        let received = self.proved.as_ref().map(Receiver::recv);
        match received {
            Some(Ok(Message::Chunk(chunk))) => {
                self.plain_bytes += chunk.len() as u64;
                self.chunk = chunk;
            }
            Some(Ok(Message::End(end))) => self.end = Some(end),
            Some(Err(_)) | None => self.end = Some(Err(OciError::Cancelled)),
        }
        Ok(())
    }
}

impl ByteSource for LayerReader {
    type Error = OciError;

    fn chunk(&mut self) -> Result<&[u8], OciError> {
        while self.at == self.chunk.len() {
            match &mut self.end {
                None => self.next()?,
                Some(Ok(())) => break,
                // It is told once; whoever asks again gets the plain end.
                Some(end) => return std::mem::replace(end, Ok(())).map(|()| &[][..]),
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
        assert!(
            self.at <= self.chunk.len(),
            "no more is taken than there is"
        );
    }
}

impl Drop for LayerReader {
    fn drop(&mut self) {
        // The threads notice at their next send; one that waits for bytes is woken.
        self.proved = None;
        if self.end.is_none() {
            self.blob.abandon();
        }
        for thread in self.threads.drain(..) {
            // A panic there was printed there, and what it read is not used.
            let _ = thread.join();
        }
    }
}
