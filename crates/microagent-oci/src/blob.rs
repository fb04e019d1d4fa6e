//! Where the bytes of a blob lie: a file or a part of one, memory, or a file that is still being
//! fetched.
//!
//! Files are opened once and read by position, so several readers share one and none moves
//! another's place. A reader of a blob that is being fetched waits for its bytes.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use microagent_os::fs;
use microagent_types::Digest;

use crate::{arrival::Arrival, error::OciError, hash::digest_of, limits::DOCUMENT_BYTES_MAX};

/// A blob that can be read any number of times.
#[derive(Clone)]
pub struct Blob {
    name: String,
    bytes: Bytes,
    offset: u64,
    len: u64,
}

/// What holds the bytes.
#[derive(Debug, Clone)]
enum Bytes {
    File(Arc<File>),
    Memory(Arc<[u8]>),
    Arriving(Arc<Arrival>),
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Blob({} at {}, {} bytes)",
            self.name, self.offset, self.len
        )
    }
}

impl Blob {
    /// All of a file, called `name` in messages.
    pub(crate) fn whole(name: String, path: &Path) -> Result<Self, OciError> {
        let file = fs::open(path)?;
        let len = fs::metadata(path)?.len();
        Ok(Self {
            name,
            bytes: Bytes::File(Arc::new(file)),
            offset: 0,
            len,
        })
    }

    /// Bytes that are all there.
    pub(crate) fn memory(name: String, bytes: Vec<u8>) -> Self {
        Self {
            name,
            len: bytes.len() as u64,
            bytes: Bytes::Memory(bytes.into()),
            offset: 0,
        }
    }

    /// A file that somebody else fills, `len` bytes at its end.
    pub(crate) fn arriving(name: String, len: u64, arrival: Arc<Arrival>) -> Self {
        Self {
            name,
            bytes: Bytes::Arriving(arrival),
            offset: 0,
            len,
        }
    }

    /// Whether whoever reads must compare the digest: no, when the one who fetches it does and no
    /// reader gets to the end of a wrong one. Waits until that is known.
    pub(crate) fn needs_proof(&self) -> bool {
        match &self.bytes {
            Bytes::Arriving(arrival) => arrival.needs_proof(),
            Bytes::File(_) | Bytes::Memory(_) => true,
        }
    }

    /// Wakes readers that wait for bytes: nobody wants them any more.
    pub(crate) fn abandon(&self) {
        if let Bytes::Arriving(arrival) = &self.bytes {
            arrival.abandon();
        }
    }

    /// A part of an open file.
    pub(crate) fn part(name: String, file: Arc<File>, offset: u64, len: u64) -> Self {
        Self {
            name,
            bytes: Bytes::File(file),
            offset,
            len,
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same bytes under another name.
    pub(crate) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A reader from the start.
    pub fn reader(&self) -> BlobReader {
        BlobReader {
            bytes: self.bytes.clone(),
            position: self.offset,
            end: self.offset + self.len,
        }
    }

    /// All bytes of a document, checked against what was promised of it.
    pub(crate) fn document(&self, promised: Promised) -> Result<Vec<u8>, OciError> {
        let claimed = promised.size.unwrap_or(self.len).max(self.len);
        if claimed > DOCUMENT_BYTES_MAX {
            return Err(OciError::DocumentTooLarge {
                blob: self.name.clone(),
                bytes: claimed,
                limit_bytes: DOCUMENT_BYTES_MAX,
            });
        }
        if let Some(expected) = promised.size
            && expected != self.len
        {
            let blob = self.name.clone();
            return Err(OciError::SizeMismatch {
                blob,
                expected,
                found: self.len,
            });
        }
        let mut bytes = Vec::new();
        self.reader()
            .read_to_end(&mut bytes)
            .map_err(|source| OciError::Read {
                blob: self.name.clone(),
                source,
            })?;
        if let Some(expected) = promised.digest {
            let found = digest_of(&bytes);
            if found != expected {
                return Err(OciError::DigestMismatch {
                    blob: self.name.clone(),
                    expected,
                    found,
                });
            }
        }
        Ok(bytes)
    }
}

/// What another document says about a blob.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Promised {
    pub(crate) digest: Option<Digest>,
    pub(crate) size: Option<u64>,
}

/// Reads a blob from start to end.
#[derive(Debug)]
pub struct BlobReader {
    bytes: Bytes,
    position: u64,
    end: u64,
}

impl BlobReader {
    /// Moves on without reading; false when the blob ends before.
    pub(crate) fn skip(&mut self, bytes: u64) -> bool {
        match self.position.checked_add(bytes) {
            Some(position) if position <= self.end => {
                self.position = position;
                true
            }
            _ => false,
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end - self.position;
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            if let Bytes::Arriving(arrival) = &self.bytes
                && !buffer.is_empty()
            {
                arrival.verdict()?;
            }
            return Ok(0);
        }
        let buffer = &mut buffer[..wanted];
        let read = match &self.bytes {
            Bytes::File(file) => fs::read_at(file, buffer, self.position)?,
            Bytes::Memory(bytes) => {
                let at = usize::try_from(self.position).map_err(|_| io::ErrorKind::InvalidInput)?;
                (&bytes[at..]).read(buffer)?
            }
            Bytes::Arriving(arrival) => {
                let (file, there) = arrival.wait_beyond(self.position)?;
                let wanted = buffer
                    .len()
                    .min(usize::try_from(there).unwrap_or(usize::MAX));
                fs::read_at(&file, &mut buffer[..wanted], self.position)?
            }
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += read as u64;
        Ok(read)
    }
}
