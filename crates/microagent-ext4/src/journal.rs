//! An empty journal: its first block says that there is nothing to replay, the rest is zeros.

use crate::checksum::crc32c;
use crate::size::BLOCK;

const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_VERSION_2: u32 = 4;
/// `64bit` and `csum_v3`: what the kernel sets at the first mount of a file system with `64bit` and
/// `metadata_csum`, so that it has nothing to change (jbd2.h).
const INCOMPATIBLE: u32 = 0x2 | 0x10;
/// CRC-32C, in the first of four bytes.
const CHECKSUM_TYPE: u32 = 4 << 24;
/// What the checksum covers, and where in that it stands.
const CHECKED_BYTES: usize = 1024;
const CHECKSUM_AT: usize = 252;

/// The first block of a journal of `blocks`, big-endian as journals are.
pub(crate) fn superblock(blocks: u64, uuid: &[u8; 16]) -> Vec<u8> {
    let blocks = u32::try_from(blocks).expect("a journal is small");
    let mut bytes = vec![0; BLOCK];
    let words = [
        (0, MAGIC),
        (4, SUPERBLOCK_VERSION_2),
        (12, u32::try_from(BLOCK).expect("4096")),
        (16, blocks),
        // The log begins behind this block, with transaction 1, and is empty.
        (20, 1),
        (24, 1),
        (40, INCOMPATIBLE),
        // One user of this journal.
        (64, 1),
        (80, CHECKSUM_TYPE),
    ];
    for (at, word) in words {
        bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    bytes[48..64].copy_from_slice(uuid);
    let checksum = crc32c(!0, &bytes[..CHECKED_BYTES]);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
