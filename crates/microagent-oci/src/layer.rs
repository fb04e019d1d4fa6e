//! A layer as a stream of plain bytes that proves itself at its end.
//!
//! ```text
//! thread 1: read, digest of the blob, decompress  ->  thread 2: digest of the content  ->  caller
//!      ^------------------------- empty buffers ------------------------------------------'
//! ```
//!
//! Queues are short, so memory is bounded whatever the layer claims. The caller sees bytes before
//! they are proved and must keep nothing for good until [`LayerReader::finish`] has returned.

use std::{
    io::{self, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use flate2::bufread::MultiGzDecoder;
use microagent_tar::ByteSource;
use microagent_types::Digest;

use crate::{
    arrival::NotArrived,
    blob::{Blob, BlobReader},
    cancel::CancelToken,
    error::OciError,
    hash::RunningDigest,
    limits::{CHUNK_BYTES, CHUNKS_WAITING_MAX, Limits, ZSTD_WINDOW_LOG_MAX},
};

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
        let (unpacked_to, unpacked) = sync_channel(CHUNKS_WAITING_MAX);
        let (proved_to, proved) = sync_channel(CHUNKS_WAITING_MAX);
        let (empty_to, empty) = sync_channel(2 * CHUNKS_WAITING_MAX + 2);
        let layer = self.clone();
        let passed = Arc::new(AtomicU64::new(0));
        let unpack_passed = Arc::clone(&passed);
        let unpack_cancel = cancel.clone();
        let limit = limits.layer_plain_bytes_max;
        let first = spawn("layer-unpack", move || {
            let end = unpack(
                &layer,
                unpack_passed,
                limit,
                &unpack_cancel,
                &empty,
                &unpacked_to,
            );
            // The reader has gone when nobody listens; then there is nobody to tell.
            let _ = unpacked_to.send(Message::End(end));
        })?;
        let blob = self.name().to_owned();
        let diff_id = self.diff_id;
        let second = spawn("layer-digest", move || {
            prove(blob, diff_id, &unpacked, &proved_to);
        })?;
        Ok(LayerReader {
            proved: Some(proved),
            empty: empty_to,
            chunk: Vec::new(),
            at: 0,
            end: None,
            plain_bytes: 0,
            passed,
            cancel: cancel.clone(),
            blob: self.blob.clone(),
            threads: vec![first, second],
        })
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OciError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(OciError::Thread)
}

enum Message {
    Chunk(Vec<u8>),
    End(Result<(), OciError>),
}

/// The plain bytes of a layer, in chunks.
pub struct LayerReader {
    proved: Option<Receiver<Message>>,
    empty: SyncSender<Vec<u8>>,
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
        if used.capacity() > 0 {
            match self.empty.try_send(used) {
                // More buffers than can wait, or nobody who would fill them.
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
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

/// Thread 1.
fn unpack(
    layer: &Layer,
    passed: Arc<AtomicU64>,
    limit_bytes: u64,
    cancel: &CancelToken,
    empty: &Receiver<Vec<u8>>,
    to: &SyncSender<Message>,
) -> Result<(), OciError> {
    let blob = layer.name();
    let needs_proof = layer.blob.needs_proof();
    let source = HashingReader {
        inner: layer.blob.reader(),
        passed,
        // What is not packed is digested once, as content.
        digest: (needs_proof
            && layer.digest.is_some()
            && (layer.compression != Compression::None || layer.digest != layer.diff_id))
            .then(RunningDigest::default),
    };
    let mut source = BufReader::with_capacity(CHUNK_BYTES, source);
    let unpacked = {
        let mut decoder =
            decoder(layer.compression, &mut source).map_err(|source| OciError::Decompress {
                blob: blob.to_owned(),
                source,
            })?;
        copy(&mut decoder, limit_bytes, cancel, empty, to)
    };
    let ended = match unpacked {
        Ok(()) => Ok(()),
        Err(Stopped::Gone) => return Ok(()),
        Err(Stopped::Cancelled) => return Err(OciError::Cancelled),
        Err(Stopped::TooLarge) => {
            return Err(OciError::LayerTooLarge {
                blob: blob.to_owned(),
                limit_bytes,
            });
        }
        Err(Stopped::Failed(source)) => Err(reading_error(
            blob,
            source,
            layer.compression != Compression::None,
        )),
    };
    // What does not decompress has most likely been damaged: the digest says so more clearly.
    let rest = drain(&mut source);
    if !needs_proof && let Err(source) = rest {
        return Err(reading_error(blob, source, false));
    }
    let mut source = source.into_inner();
    if let (Some(expected), Some(digest)) = (layer.digest, source.digest.take()) {
        rest.map_err(|source| OciError::Read {
            blob: blob.to_owned(),
            source,
        })?;
        let found = digest.finish();
        if found != expected {
            return Err(OciError::DigestMismatch {
                blob: blob.to_owned(),
                expected,
                found,
            });
        }
    }
    ended
}

/// What to say of a failed read: why the bytes did not arrive, or what reading them met.
fn reading_error(blob: &str, source: io::Error, packed: bool) -> OciError {
    let blob = blob.to_owned();
    match source.downcast::<NotArrived>() {
        Ok(NotArrived::Cancelled) => OciError::Cancelled,
        Ok(NotArrived::Failed(source)) => OciError::Download { blob, source },
        Err(source) if packed => OciError::Decompress { blob, source },
        Err(source) => OciError::Read { blob, source },
    }
}

/// Why copying stopped.
enum Stopped {
    /// Nobody listens.
    Gone,
    Cancelled,
    TooLarge,
    Failed(io::Error),
}

fn copy(
    from: &mut dyn Read,
    limit_bytes: u64,
    cancel: &CancelToken,
    empty: &Receiver<Vec<u8>>,
    to: &SyncSender<Message>,
) -> Result<(), Stopped> {
    let mut total = 0u64;
    loop {
        if cancel.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        let mut chunk = empty.try_recv().unwrap_or_default();
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
        if filled > 0 && to.send(Message::Chunk(chunk)).is_err() {
            return Err(Stopped::Gone);
        }
        if ended {
            return Ok(());
        }
    }
}

/// Thread 2.
fn prove(
    blob: String,
    diff_id: Option<Digest>,
    from: &Receiver<Message>,
    to: &SyncSender<Message>,
) {
    let mut digest = RunningDigest::default();
    while let Ok(message) = from.recv() {
        let passed_on = match message {
            Message::Chunk(chunk) => {
                if diff_id.is_some() {
                    digest.update(&chunk);
                }
                Message::Chunk(chunk)
            }
            Message::End(Err(error)) => Message::End(Err(error)),
            Message::End(Ok(())) => Message::End(verdict(&blob, diff_id, digest.clone())),
        };
        if to.send(passed_on).is_err() {
            return;
        }
    }
}

fn verdict(blob: &str, diff_id: Option<Digest>, digest: RunningDigest) -> Result<(), OciError> {
    let Some(expected) = diff_id else {
        return Ok(());
    };
    let found = digest.finish();
    if found == expected {
        return Ok(());
    }
    Err(OciError::ContentMismatch {
        blob: blob.to_owned(),
        expected,
        found,
    })
}

fn decoder<'a, R: Read>(
    compression: Compression,
    source: &'a mut BufReader<R>,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

fn drain(source: &mut dyn Read) -> io::Result<()> {
    io::copy(source, &mut io::sink()).map(drop)
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
