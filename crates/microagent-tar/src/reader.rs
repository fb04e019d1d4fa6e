//! Reads entries one after another: POSIX with extended headers, GNU long names, GNU sparse files in
//! all their forms.
//!
//! It exists because attributes are bytes: the common readers split an extended header at line
//! ends and so lose a file capability that holds the byte 10, or the size of the file after it.
//! Entries are given as they are; what a path may be is for the caller to judge.
//!
//! Every header has its bound before it is held, and nothing recurses.

use thiserror::Error;

use crate::entry::{Entry, EntryKind, Piece};
use crate::header::{BLOCK_BYTES, Header};
use crate::limits::{EXTENDED_HEADER_BYTES_MAX, PATH_BYTES_MAX};
use crate::pax::{self, Extensions};
use crate::sparse;

/// Bytes in chunks, with an error of its own.
pub trait ByteSource {
    /// Why there are no more bytes.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Some bytes that come next; none at the end.
    fn chunk(&mut self) -> Result<&[u8], Self::Error>;

    /// Marks bytes of the last chunk as taken.
    fn consume(&mut self, bytes: usize);

    /// Takes bytes without looking at them. `false` when the source ends before.
    fn skip(&mut self, mut bytes: u64) -> Result<bool, Self::Error> {
        while bytes > 0 {
            let there = self.chunk()?.len();
            if there == 0 {
                return Ok(false);
            }
            let now = usize::try_from(bytes).unwrap_or(usize::MAX).min(there);
            self.consume(now);
            bytes -= now as u64;
        }
        Ok(true)
    }
}

/// Bytes that are all there.
impl ByteSource for &[u8] {
    type Error = std::convert::Infallible;

    fn chunk(&mut self) -> Result<&[u8], Self::Error> {
        Ok(self)
    }

    fn consume(&mut self, bytes: usize) {
        *self = &self[bytes..];
    }
}

/// Why an archive can't be read on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TarError {
    /// The bytes did not come.
    #[error("the archive cannot be read")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The archive ends within an entry.
    #[error("the archive ends at byte {offset}, within an entry")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// A header whose checksum is wrong.
    #[error("there is no header at byte {offset}")]
    NoHeader {
        /// Where.
        offset: u64,
    },
    /// A field of a header can't be read.
    #[error("the header at byte {offset} has a bad {field}")]
    Field {
        /// Where the header begins.
        offset: u64,
        /// Which field.
        field: &'static str,
    },
    /// A name, an extended header or a map beyond its bound.
    #[error("the {what} at byte {offset} is longer than {limit}")]
    TooLong {
        /// Where.
        offset: u64,
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// An entry of a type that a file system has no place for.
    #[error("the entry `{path}` has the unknown type `{kind}`")]
    UnknownType {
        /// Its path, escaped.
        path: String,
        /// The byte, escaped.
        kind: String,
    },
}

/// Reads entries one after another.
pub struct TarReader<S> {
    source: S,
    offset: u64,
    /// Content of the entry that was given last, still to be read.
    left: u64,
    padding: u64,
    /// Where the pieces of that content belong, when it is sparse.
    pieces: Option<Vec<Piece>>,
    size: u64,
    ended: bool,
}

/// A part of an entry's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// So many zeros that the archive does not hold.
    Hole(u64),
}

impl<S: ByteSource> TarReader<S> {
    /// Reads from the start of `source`.
    pub fn new(source: S) -> Self {
        Self {
            source,
            offset: 0,
            left: 0,
            padding: 0,
            pieces: None,
            size: 0,
            ended: false,
        }
    }

    /// The source, wherever it stands.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The source, wherever it stands.
    pub fn into_source(self) -> S {
        self.source
    }

    /// The byte at which the content of the last entry begins.
    pub fn content_offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of that content as they lie in the archive.
    pub fn content_stored(&self) -> u64 {
        self.left
    }

    /// The next entry; content that was not read is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip(self.left)?;
        self.skip_padding(self.padding)?;
        (self.left, self.padding, self.pieces, self.size) = (0, 0, None, 0);
        let mut extensions = Extensions::default();
        let mut long_path = None;
        let mut long_link = None;
        loop {
            let at = self.offset;
            let Some(header) = self.header()? else {
                self.ended = true;
                return Ok(None);
            };
            match header.kind() {
                b'x' | b'X' => {
                    let bytes = self.extended(&header, at)?;
                    extensions = Extensions::parse(&bytes, at)?;
                }
                b'g' => drop(self.extended(&header, at)?),
                b'L' => long_path = Some(without_nul(self.extended(&header, at)?)),
                b'K' => long_link = Some(without_nul(self.extended(&header, at)?)),
                // A label is about the archive, not about a file.
                b'V' => {
                    let size = header.size().ok_or(field(at, "size"))?;
                    self.skip(padded(size))?;
                }
                _ => {
                    return self
                        .entry(&header, at, extensions, long_path, long_link)
                        .map(Some);
                }
            }
        }
    }

    /// Hands the content of the last entry to `take`, piece by piece. Entries without content
    /// give nothing.
    pub fn content<E>(
        &mut self,
        mut take: impl FnMut(Content<'_>) -> Result<(), E>,
    ) -> Result<Result<(), E>, TarError> {
        let Some(pieces) = self.pieces.take() else {
            let len = std::mem::take(&mut self.left);
            return self.bytes(len, &mut take);
        };
        let mut position = 0;
        for piece in pieces {
            if piece.offset > position
                && let Err(error) = take(Content::Hole(piece.offset - position))
            {
                return Ok(Err(error));
            }
            self.left -= piece.len;
            if let Err(error) = self.bytes(piece.len, &mut take)? {
                return Ok(Err(error));
            }
            position = piece.offset + piece.len;
        }
        if self.size > position {
            return Ok(take(Content::Hole(self.size - position)));
        }
        Ok(Ok(()))
    }

    fn bytes<E>(
        &mut self,
        mut len: u64,
        take: &mut impl FnMut(Content<'_>) -> Result<(), E>,
    ) -> Result<Result<(), E>, TarError> {
        while len > 0 {
            let chunk = self.source.chunk().map_err(source_error)?;
            if chunk.is_empty() {
                return Err(TarError::Truncated {
                    offset: self.offset,
                });
            }
            let now = usize::try_from(len).unwrap_or(usize::MAX).min(chunk.len());
            let taken = take(Content::Bytes(&chunk[..now]));
            self.source.consume(now);
            self.offset += now as u64;
            len -= now as u64;
            if taken.is_err() {
                return Ok(taken);
            }
        }
        Ok(Ok(()))
    }

    /// The next header; none behind the last entry.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let at = self.offset;
        let mut block = Box::new([0; BLOCK_BYTES]);
        // An archive may simply stop, or end with blocks of zeros.
        if !self.fill(&mut block[..])? {
            return Ok(None);
        }
        if *block == [0; BLOCK_BYTES] {
            return Ok(None);
        }
        Header::new(block)
            .map(Some)
            .ok_or(TarError::NoHeader { offset: at })
    }

    fn entry(
        &mut self,
        header: &Header,
        at: u64,
        extensions: Extensions,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let path = long_path
            .or(extensions.path)
            .unwrap_or_else(|| header.path());
        let link = long_link
            .or(extensions.link)
            .unwrap_or_else(|| header.link());
        for (what, bytes) in [("path", &path), ("link target", &link)] {
            if bytes.len() > PATH_BYTES_MAX {
                return Err(TarError::TooLong {
                    offset: at,
                    what,
                    limit: PATH_BYTES_MAX as u64,
                });
            }
        }
        let device = || {
            let major = header.major().ok_or(field(at, "device number"))?;
            let minor = header.minor().ok_or(field(at, "device number"))?;
            Ok((major, minor))
        };
        let kind = match header.kind() {
            // Before there was a type for them, a directory was a file whose name ends so.
            0 | b'0' | b'7' if path.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::Regular,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => device().map(|(major, minor)| EntryKind::CharacterDevice { major, minor })?,
            b'4' => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => {
                return Err(TarError::UnknownType {
                    path: path.escape_ascii().to_string(),
                    kind: other.escape_ascii().to_string(),
                });
            }
        };
        let stored = extensions.size.or(header.size()).ok_or(field(at, "size"))?;
        let mut entry = Entry {
            path,
            mode: header.mode().ok_or(field(at, "mode"))?,
            uid: extensions.uid.or(header.uid()).ok_or(field(at, "owner"))?,
            gid: extensions.gid.or(header.gid()).ok_or(field(at, "group"))?,
            seconds: header.seconds().ok_or(field(at, "time"))?,
            nanoseconds: 0,
            size: 0,
            attributes: extensions.attributes,
            kind,
        };
        if let Some((seconds, nanoseconds)) = extensions.modified {
            (entry.seconds, entry.nanoseconds) = (seconds, nanoseconds);
        }
        // Links, devices and folders have no content, whatever size they state.
        if entry.kind == EntryKind::Regular {
            self.left = stored;
            self.padding = padded(stored)
                .checked_sub(stored)
                .ok_or(field(at, "size"))?;
            entry.size = stored;
            self.sparse(header, at, extensions.sparse, &mut entry)?;
            self.size = entry.size;
        }
        Ok(entry)
    }

    fn sparse(
        &mut self,
        header: &Header,
        at: u64,
        extension: pax::Sparse,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let before = self.offset;
        let pieces = if header.kind() == b'S' {
            let (pieces, size) = sparse::old_form(header, at, &mut |block| self.fill(block))?;
            // Its further headers are not part of the content.
            entry.size = size;
            pieces
        } else if let Some(map) = extension.in_content(at)? {
            let pieces = sparse::leading_map(at, self.left, &mut |block| self.fill(block))?;
            self.left = self
                .left
                .checked_sub(self.offset - before)
                .ok_or(field(at, "sparse map"))?;
            entry.size = map.size;
            entry.path = map.path.unwrap_or(std::mem::take(&mut entry.path));
            pieces
        } else if let Some(map) = extension.in_header(at)? {
            entry.size = map.size;
            entry.path = map.path.unwrap_or(std::mem::take(&mut entry.path));
            map.pieces
        } else {
            return Ok(());
        };
        sparse::check(&pieces, entry.size, self.left).ok_or(field(at, "sparse map"))?;
        self.pieces = Some(pieces);
        Ok(())
    }

    /// The content of a header that only says something about the next one.
    fn extended(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
        let size = header.size().ok_or(field(at, "size"))?;
        if size > EXTENDED_HEADER_BYTES_MAX {
            let limit = EXTENDED_HEADER_BYTES_MAX;
            return Err(TarError::TooLong {
                offset: at,
                what: "extended header",
                limit,
            });
        }
        let mut bytes = vec![0; usize::try_from(size).expect("at most 1 MiB")];
        if !self.fill(&mut bytes)? && size > 0 {
            return Err(TarError::Truncated {
                offset: self.offset,
            });
        }
        self.skip(padded(size) - size)?;
        Ok(bytes)
    }

    /// Fills `bytes`; `false` when the archive ends exactly here.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < bytes.len() {
            let chunk = self.source.chunk().map_err(source_error)?;
            if chunk.is_empty() {
                if filled == 0 {
                    return Ok(false);
                }
                return Err(TarError::Truncated {
                    offset: self.offset,
                });
            }
            let now = chunk.len().min(bytes.len() - filled);
            bytes[filled..filled + now].copy_from_slice(&chunk[..now]);
            self.source.consume(now);
            self.offset += now as u64;
            filled += now;
        }
        Ok(true)
    }

    /// Passes over what fills the last block of an entry. Some writers, umoci among them, end an
    /// archive right behind the last byte of the last file; nothing of it is missing then.
    fn skip_padding(&mut self, bytes: u64) -> Result<(), TarError> {
        if self.source.skip(bytes).map_err(source_error)? {
            self.offset += bytes;
        } else {
            self.ended = true;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), TarError> {
        if !self.source.skip(bytes).map_err(source_error)? {
            return Err(TarError::Truncated {
                offset: self.offset,
            });
        }
        self.offset += bytes;
        Ok(())
    }
}

fn source_error<E: std::error::Error + Send + Sync + 'static>(error: E) -> TarError {
    TarError::Source(Box::new(error))
}

pub(crate) fn field(offset: u64, field: &'static str) -> TarError {
    TarError::Field { offset, field }
}

pub(crate) fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK_BYTES as u64)
        .unwrap_or(0)
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
