//! Whether an executable stands alone: the little of the ELF format that says so. Pure, and nothing
//! in the file is trusted.

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const PROGRAM_HEADERS_AT: usize = 32;
const HEADER_SIZE_AT: usize = 54;
const HEADER_COUNT_AT: usize = 56;
/// A program header that names the loader of shared libraries.
const INTERPRETER: u32 = 3;

/// Whether this is the beginning of a 64-bit little-endian executable without a loader. What can't
/// be read is taken to need one.
pub(crate) fn needs_no_interpreter(head: &[u8]) -> bool {
    kinds_of_headers(head).is_some_and(|kinds| !kinds.contains(&INTERPRETER))
}

fn kinds_of_headers(head: &[u8]) -> Option<Vec<u32>> {
    if !head.starts_with(MAGIC) {
        return None;
    }
    let start = u64::from_le_bytes(bytes(head, PROGRAM_HEADERS_AT)?);
    let start = usize::try_from(start).ok()?;
    let size = usize::from(u16::from_le_bytes(bytes(head, HEADER_SIZE_AT)?));
    let count = usize::from(u16::from_le_bytes(bytes(head, HEADER_COUNT_AT)?));
    (0..count)
        .map(|index| {
            let position = start.checked_add(index.checked_mul(size)?)?;
            Some(u32::from_le_bytes(bytes(head, position)?))
        })
        .collect()
}

fn bytes<const N: usize>(head: &[u8], position: usize) -> Option<[u8; N]> {
    let end = position.checked_add(N)?;
    head.get(position..end)?.try_into().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The head of an executable with headers of these kinds.
    pub(crate) fn executable(kinds: &[u32]) -> Vec<u8> {
        let mut head = vec![0u8; 64];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[PROGRAM_HEADERS_AT] = 64;
        head[HEADER_SIZE_AT] = 56;
        head[HEADER_COUNT_AT] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            let mut header = [0u8; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            head.extend(header);
        }
        head
    }

    #[test]
    fn a_loader_among_the_headers_is_seen() {
        assert!(needs_no_interpreter(&executable(&[1, 1, 2])));
        assert!(!needs_no_interpreter(&executable(&[6, INTERPRETER, 1])));
    }

    #[test]
    fn what_is_cut_off_or_something_else_needs_one() {
        let whole = executable(&[1, 1]);
        for length in 0..whole.len() - 52 {
            assert!(!needs_no_interpreter(&whole[..length]), "{length}");
        }
        assert!(!needs_no_interpreter(b"#!/bin/sh\n"));
        let mut far = whole;
        far[PROGRAM_HEADERS_AT..PROGRAM_HEADERS_AT + 8].fill(0xff);
        assert!(!needs_no_interpreter(&far));
    }
}
