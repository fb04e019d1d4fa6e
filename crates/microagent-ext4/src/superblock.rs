//! The superblock and its copies.

use crate::{checksum::crc32c, size::GROUP_BLOCKS};

/// Its length; the last four bytes are its checksum.
pub(crate) const SUPERBLOCK_BYTES: usize = 1024;
/// Where it stands in the first block.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;

/// `has_journal`, `ext_attr`, `resize_inode`, `dir_index`.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// `filetype`, `extents`, `64bit`, `flex_bg`.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// `sparse_super`, `large_file`, `huge_file`, `dir_nlink`, `extra_isize`, `metadata_csum`.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;
/// Names are hashed as unsigned bytes.
const FLAG_UNSIGNED_HASH: u32 = 2;
/// Mounted with user attributes and access lists unless told otherwise.
const DEFAULT_MOUNT_OPTIONS: u32 = 0x4 | 0x8;
const CHECKSUM_CRC32C: u8 = 1;
const HASH_HALF_MD4: u8 = 1;
/// The journal's inode is repeated in the superblock.
const JOURNAL_BACKUP: u8 = 1;
/// Sixteen groups share a stretch when the kernel adds more.
const LOG_GROUPS_PER_FLEX: u8 = 4;

/// What the superblock says.
#[derive(Debug)]
pub(crate) struct Superblock {
    pub(crate) uuid: [u8; 16],
    pub(crate) hash_seed: [u32; 4],
    pub(crate) created: u32,
    pub(crate) blocks: u64,
    pub(crate) free_blocks: u64,
    pub(crate) inodes_per_group: u64,
    pub(crate) groups: u64,
    pub(crate) free_inodes: u64,
    pub(crate) reserved_descriptor_blocks: u64,
    pub(crate) lost_and_found: u32,
    pub(crate) journal_inode: u32,
    pub(crate) journal_area: [u8; 60],
    pub(crate) journal_bytes: u64,
    /// Blocks that no file can have.
    pub(crate) overhead_blocks: u64,
}

impl Superblock {
    /// The bytes of the copy in `group`; 0 is the original.
    pub(crate) fn encode(&self, group: u64) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let inodes = self.inodes_per_group * self.groups;
        let blocks = self.blocks.to_le_bytes();
        let free = self.free_blocks.to_le_bytes();
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0x00, &low(inodes));
        put(0x04, &blocks[..4]);
        put(0x0c, &free[..4]);
        put(0x10, &low(self.free_inodes));
        // The block size, as a power of two above 1024; the cluster size is the same.
        put(0x18, &2u32.to_le_bytes());
        put(0x1c, &2u32.to_le_bytes());
        put(0x20, &low(GROUP_BLOCKS));
        put(0x24, &low(GROUP_BLOCKS));
        put(0x28, &low(self.inodes_per_group));
        put(0x30, &self.created.to_le_bytes());
        // Never checked because of a count of mounts.
        put(0x36, &u16::MAX.to_le_bytes());
        put(0x38, &0xef53u16.to_le_bytes());
        // Clean; go on after errors; revision 1.
        put(0x3a, &1u16.to_le_bytes());
        put(0x3c, &1u16.to_le_bytes());
        put(0x40, &self.created.to_le_bytes());
        put(0x4c, &1u32.to_le_bytes());
        put(0x54, &11u32.to_le_bytes());
        put(0x58, &256u16.to_le_bytes());
        put(0x5a, &low(group)[..2]);
        put(0x5c, &COMPATIBLE.to_le_bytes());
        put(0x60, &INCOMPATIBLE.to_le_bytes());
        put(0x64, &READ_ONLY_COMPATIBLE.to_le_bytes());
        put(0x68, &self.uuid);
        put(0xce, &low(self.reserved_descriptor_blocks)[..2]);
        put(0xe0, &self.journal_inode.to_le_bytes());
        for (position, word) in self.hash_seed.iter().enumerate() {
            put(0xec + position * 4, &word.to_le_bytes());
        }
        put(0xfc, &[HASH_HALF_MD4, JOURNAL_BACKUP]);
        put(0xfe, &64u16.to_le_bytes());
        put(0x100, &DEFAULT_MOUNT_OPTIONS.to_le_bytes());
        put(0x108, &self.created.to_le_bytes());
        put(0x10c, &self.journal_area);
        let journal = self.journal_bytes.to_le_bytes();
        put(0x10c + 60, &journal[4..]);
        put(0x10c + 64, &journal[..4]);
        put(0x150, &blocks[4..]);
        put(0x158, &free[4..]);
        put(0x15c, &32u16.to_le_bytes());
        put(0x15e, &32u16.to_le_bytes());
        put(0x160, &FLAG_UNSIGNED_HASH.to_le_bytes());
        put(0x174, &[LOG_GROUPS_PER_FLEX, CHECKSUM_CRC32C]);
        // The kernel counts for itself; where this differs it writes all copies anew at the first mount.
        put(0x248, &low(self.overhead_blocks));
        put(0x268, &self.lost_and_found.to_le_bytes());
        let checksum = crc32c(!0, &bytes[..SUPERBLOCK_BYTES - 4]);
        bytes[SUPERBLOCK_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

fn low(value: u64) -> [u8; 4] {
    u32::try_from(value)
        .expect("a count below 2^32")
        .to_le_bytes()
}
