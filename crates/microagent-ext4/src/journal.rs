//! An empty journal: its first block says that there is nothing to replay, the rest is zeros.

use crate::size::BLOCK;

const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_VERSION_2: u32 = 4;

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
        // One user of this journal.
        (64, 1),
    ];
    for (at, word) in words {
        bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    bytes[48..64].copy_from_slice(uuid);
    bytes
}
