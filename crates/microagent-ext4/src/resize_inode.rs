//! The inode that holds the blocks kept for more group descriptors.
//!
//! Online growth takes them one by one. It is an old-style double indirect file: the indirect
//! block points to the kept blocks after the descriptors, and each of those lists its copies in
//! the groups that have one.

use crate::size::{BLOCK, BLOCK_BYTES, GROUP_BLOCKS, has_copy};

/// Its number.
pub(crate) const RESIZE_INODE: u32 = 7;
/// Pointers in a block.
const POINTERS: u64 = BLOCK_BYTES / 4;
/// Where the double indirect pointer stands among the fifteen.
const DOUBLE_INDIRECT: usize = 13;

/// What the resize inode consists of.
#[derive(Debug)]
pub(crate) struct ResizeInode {
    /// The fifteen pointers.
    pub(crate) area: [u8; 60],
    /// The double indirect block.
    pub(crate) indirect: Vec<u8>,
    /// The kept blocks behind the primary descriptors: number and bytes.
    pub(crate) kept: Vec<(u64, Vec<u8>)>,
    /// All blocks that belong to it.
    pub(crate) blocks: u64,
}

impl ResizeInode {
    /// The size that such an inode always claims.
    pub(crate) const SIZE: u64 = (POINTERS * POINTERS + POINTERS + 12) * BLOCK_BYTES;

    /// For `groups` groups whose descriptors take `descriptor_blocks`, with `kept` more kept and
    /// the double indirect block at `indirect_at`.
    pub(crate) fn new(groups: u64, descriptor_blocks: u64, kept: u64, indirect_at: u64) -> Self {
        let copies: Vec<u64> = (1..groups).filter(|group| has_copy(*group)).collect();
        let mut indirect = vec![0; BLOCK];
        let mut kept_blocks = Vec::new();
        for number in 0..kept {
            let block = 1 + descriptor_blocks + number;
            let slot = usize::try_from((descriptor_blocks + number) % POINTERS).expect("1024") * 4;
            indirect[slot..slot + 4].copy_from_slice(&pointer(block));
            let mut bytes = vec![0; BLOCK];
            for (copy, slot) in copies.iter().zip(bytes.as_chunks_mut::<4>().0) {
                *slot = pointer(copy * GROUP_BLOCKS + block);
            }
            kept_blocks.push((block, bytes));
        }
        let mut area = [0; 60];
        area[DOUBLE_INDIRECT * 4..][..4].copy_from_slice(&pointer(indirect_at));
        Self {
            area,
            indirect,
            kept: kept_blocks,
            blocks: 1 + kept * (1 + copies.len() as u64),
        }
    }
}

fn pointer(block: u64) -> [u8; 4] {
    u32::try_from(block)
        .expect("an image has at most 2^32 blocks")
        .to_le_bytes()
}
