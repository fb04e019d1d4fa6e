//! Any bytes as an archive: an end or an error, and the same one in whatever pieces they come. What
//! comes out is never more than what went in.

use std::convert::Infallible;

use super::sealed::sealed;
use microagent_tar::{ByteSource, Content, EntryKind, TarReader};

/// Reads `bytes` at once and in pieces, as they are and with the checksums that they should have.
pub(crate) fn check(bytes: &[u8]) {
    check_pieces(bytes);
    check_pieces(&sealed(bytes));
}

fn check_pieces(bytes: &[u8]) {
    let whole = read(bytes, usize::MAX);
    let piece = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
    let pieces = read(bytes, piece);
    assert!(whole == pieces, "pieces of {piece} bytes change the result");
}

/// What an archive gives, for a comparison.
#[derive(Debug, PartialEq)]
struct Seen {
    entries: Vec<(Vec<u8>, EntryKind, u64)>,
    bytes: u64,
    sum: u64,
    end: Option<String>,
}

fn read(archive: &[u8], piece: usize) -> Seen {
    let mut reader = TarReader::new(Pieces {
        rest: archive,
        piece,
    });
    let mut seen = Seen {
        entries: Vec::new(),
        bytes: 0,
        sum: 0,
        end: None,
    };
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) => {
                seen.end = Some(error.to_string());
                break;
            }
        };
        let mut len = 0u64;
        let read = reader.content(|content| {
            match content {
                Content::Bytes(bytes) => {
                    len += bytes.len() as u64;
                    seen.bytes += bytes.len() as u64;
                    let bytes = bytes.iter().map(|byte| u64::from(*byte));
                    seen.sum = bytes.fold(seen.sum, |sum, byte| sum.rotate_left(5) ^ byte);
                }
                Content::Hole(hole) => len += hole,
            }
            Ok::<(), Infallible>(())
        });
        if let Err(error) = read {
            seen.end = Some(error.to_string());
            break;
        }
        assert_eq!(len, entry.size, "a file is as long as its entry says");
        seen.entries.push((entry.path, entry.kind, entry.size));
    }
    assert!(seen.bytes <= archive.len() as u64);
    seen
}

/// Bytes that come in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl ByteSource for Pieces<'_> {
    type Error = Infallible;

    fn chunk(&mut self) -> Result<&[u8], Infallible> {
        Ok(&self.rest[..self.rest.len().min(self.piece)])
    }

    fn consume(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }
}
