//! Sparse files: which pieces of a file the archive holds.

use crate::entry::Piece;
use crate::header::{BLOCK_BYTES, Header, number};
use crate::limits::SPARSE_PIECES_MAX;
use crate::pax::decimal;
use crate::reader::{TarError, field};

type Fill<'a> = dyn FnMut(&mut [u8]) -> Result<bool, TarError> + 'a;

/// The oldest form: pieces in the header, and in blocks that follow it.
pub(crate) fn old_form(
    header: &Header,
    at: u64,
    fill: &mut Fill<'_>,
) -> Result<(Vec<Piece>, u64), TarError> {
    let bad = || field(at, "sparse map");
    let size = header.old_sparse_size().ok_or_else(bad)?;
    let mut pieces = Vec::new();
    push_pieces(header.old_sparse_pieces(), &mut pieces).ok_or_else(bad)?;
    let mut goes_on = header.old_sparse_goes_on();
    while goes_on {
        let mut block = [0; BLOCK_BYTES];
        next_block(&mut block, at, fill)?;
        push_pieces(&block[..21 * 24], &mut pieces).ok_or_else(bad)?;
        bounded(pieces.len(), at)?;
        goes_on = block[504] != 0;
    }
    Ok((pieces, size))
}

fn push_pieces(fields: &[u8], pieces: &mut Vec<Piece>) -> Option<()> {
    for pair in fields.as_chunks::<24>().0 {
        if pair[0] == 0 {
            break;
        }
        pieces.push(Piece {
            offset: number(&pair[..12])?,
            len: number(&pair[12..])?,
        });
    }
    Some(())
}

/// The newest form: lines of decimal numbers in front of the content, padded to a block.
pub(crate) fn leading_map(
    at: u64,
    stored: u64,
    fill: &mut Fill<'_>,
) -> Result<Vec<Piece>, TarError> {
    let bad = || field(at, "sparse map");
    let mut read = 0u64;
    let mut line = Vec::new();
    let mut wanted = None;
    let mut numbers = Vec::new();
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        read += BLOCK_BYTES as u64;
        if read > stored {
            return Err(bad());
        }
        let mut block = [0; BLOCK_BYTES];
        next_block(&mut block, at, fill)?;
        for byte in block {
            if wanted.is_some_and(|wanted| numbers.len() == wanted) {
                break;
            }
            if byte != b'\n' {
                // No number is longer than this.
                if line.len() == 20 {
                    return Err(bad());
                }
                line.push(byte);
                continue;
            }
            let number = decimal(&line).ok_or_else(bad)?;
            line.clear();
            match wanted {
                None => {
                    let count = usize::try_from(number).map_err(|_| bad())?;
                    bounded(count, at)?;
                    wanted = Some(2 * count);
                }
                Some(_) => numbers.push(number),
            }
        }
    }
    Ok(numbers
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[offset, len]| Piece {
            offset: *offset,
            len: *len,
        })
        .collect())
}

/// Pieces must come in order, lie within the file and be what the archive holds.
pub(crate) fn check(pieces: &[Piece], size: u64, stored: u64) -> Option<()> {
    let mut end = 0;
    let mut sum = 0u64;
    for piece in pieces {
        if piece.offset < end {
            return None;
        }
        end = piece.offset.checked_add(piece.len)?;
        sum = sum.checked_add(piece.len)?;
    }
    (end <= size && sum == stored).then_some(())
}

fn next_block(block: &mut [u8], at: u64, fill: &mut Fill<'_>) -> Result<(), TarError> {
    if fill(block)? {
        Ok(())
    } else {
        Err(TarError::Truncated { offset: at })
    }
}

fn bounded(pieces: usize, offset: u64) -> Result<(), TarError> {
    if pieces <= SPARSE_PIECES_MAX {
        return Ok(());
    }
    Err(TarError::TooLong {
        offset,
        what: "sparse map",
        limit: SPARSE_PIECES_MAX as u64,
    })
}
