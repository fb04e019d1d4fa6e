//! How large an image is and how its fixed parts divide it. Arithmetic only.
//!
//! ```text
//! block 0        1 ..                      the cursor                      the end
//! | superblock | descriptors, reserve | contents | tables, journal | free |
//! ```
//!
//! Groups are 128 MiB. Some groups begin with a copy of the superblock and the descriptors; the
//! cursor jumps over those. Everything else of a group lies where the cursor was when it was made,
//! which the `flex_bg` feature allows.

use crate::image::ImageError;

/// The only block size.
pub const BLOCK_BYTES: u64 = BLOCK as u64;
/// The same, as the length of a buffer.
pub(crate) const BLOCK: usize = 4096;
/// Blocks of a group: as many as one bitmap block has bits.
pub const GROUP_BLOCKS: u64 = 32_768;
/// Bytes of an inode.
pub(crate) const INODE_BYTES: u64 = INODE as u64;
/// The same, as the length of a buffer.
pub(crate) const INODE: usize = 256;
/// Inodes in a block.
pub(crate) const BLOCK_INODES: u64 = BLOCK_BYTES / INODE_BYTES;
/// Bytes of a group descriptor.
pub(crate) const DESCRIPTOR: usize = 64;
/// Descriptors in a block.
pub(crate) const BLOCK_DESCRIPTORS: u64 = BLOCK_BYTES / DESCRIPTOR as u64;
/// The largest image, 16 TiB.
pub const IMAGE_BYTES_MAX: u64 = 1 << 44;
/// The smallest image that has room for its own tables.
pub const IMAGE_BYTES_MIN: u64 = 16 << 20;
/// Sizes are whole multiples of this.
pub const IMAGE_BYTES_STEP: u64 = 1 << 20;

/// Blocks kept for descriptors, so that a kernel can grow the file system to 2 TiB in the
/// ordinary way (beyond, it goes on by another one).
const DESCRIPTOR_AREA_BLOCKS: u64 = 256;
/// A fitted image has at least this much free.
const SPARE_BYTES_MIN: u64 = 64 << 20;
/// A group at the end that is smaller than its tables and this is left off.
const LAST_GROUP_BLOCKS_MIN: u64 = 64;

/// How large to make an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSize {
    /// What the contents need and a quarter, at least 64 MiB free.
    Fit,
    /// Exactly so many bytes, a multiple of 1 MiB.
    Exact(u64),
    /// As many as that where the contents have room there, and as [`Self::Fit`] where they don't.
    AtLeast(u64),
}

/// The decisions that must stand before the first content is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Blocks after the superblock for descriptors, in use and reserved.
    pub(crate) descriptor_area: u64,
    /// Blocks of the journal.
    pub(crate) journal_blocks: u64,
    /// The size, when it was given.
    pub(crate) exact_blocks: Option<u64>,
    /// Whether contents that need more than the given size get more.
    pub(crate) may_be_larger: bool,
}

impl Plan {
    pub(crate) fn new(size: ImageSize) -> Result<Self, ImageError> {
        let (bytes, may_be_larger) = match size {
            ImageSize::Exact(bytes) => (bytes, false),
            ImageSize::AtLeast(bytes) => (bytes, true),
            ImageSize::Fit => {
                return Ok(Self {
                    descriptor_area: DESCRIPTOR_AREA_BLOCKS,
                    journal_blocks: 8192,
                    exact_blocks: None,
                    may_be_larger: true,
                });
            }
        };
        if !(IMAGE_BYTES_MIN..=IMAGE_BYTES_MAX).contains(&bytes) || bytes % IMAGE_BYTES_STEP != 0 {
            return Err(ImageError::SizeOutOfRange {
                given_bytes: bytes,
                min_bytes: IMAGE_BYTES_MIN,
                max_bytes: IMAGE_BYTES_MAX,
            });
        }
        let blocks = bytes / BLOCK_BYTES;
        let descriptors = blocks.div_ceil(GROUP_BLOCKS).div_ceil(BLOCK_DESCRIPTORS);
        // Room to become a thousand times as large, as far as the area goes.
        let wished = (blocks * 1000)
            .div_ceil(GROUP_BLOCKS)
            .div_ceil(BLOCK_DESCRIPTORS);
        let journal_blocks = match bytes >> 20 {
            ..128 => 1024,
            128..1024 => 4096,
            1024..4096 => 8192,
            _ => 16_384,
        };
        Ok(Self {
            descriptor_area: wished.min(DESCRIPTOR_AREA_BLOCKS).max(descriptors + 8),
            journal_blocks,
            exact_blocks: Some(blocks),
            may_be_larger,
        })
    }

    /// The superblock and the area after it.
    pub(crate) fn head_blocks(&self) -> u64 {
        1 + self.descriptor_area
    }

    /// How many blocks of `wanted` are used: a last group without room for its own head is none.
    pub(crate) fn usable_blocks(&self, wanted: u64) -> u64 {
        let rest = wanted % GROUP_BLOCKS;
        let last = wanted / GROUP_BLOCKS;
        let head = if has_copy(last) {
            self.head_blocks()
        } else {
            0
        };
        if rest != 0 && last > 0 && rest < head + LAST_GROUP_BLOCKS_MIN {
            wanted - rest
        } else {
            wanted
        }
    }

    /// How long a fitted image is when `used` of `taken` blocks are in use.
    pub(crate) fn fitted_blocks(&self, taken: u64, used: u64, spare: Spare) -> u64 {
        let spare = match spare {
            Spare::Quarter => (used / 4).max(SPARE_BYTES_MIN / BLOCK_BYTES),
            Spare::None => 0,
        };
        let step = IMAGE_BYTES_STEP / BLOCK_BYTES;
        let mut blocks = (taken + spare).next_multiple_of(step);
        while self.usable_blocks(blocks) != blocks {
            blocks += step;
        }
        blocks
    }
}

/// How much to leave free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    Quarter,
    None,
}

/// Whether group `group` begins with a copy of the superblock (the `sparse_super` rule).
pub(crate) fn has_copy(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut value = base;
        while value < group {
            value *= base;
        }
        value == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}

/// Inodes of each group: one for 16 KiB, more when the tree needs more.
pub(crate) fn inodes_per_group(nodes: u64, blocks: u64) -> Option<u64> {
    let groups = blocks.div_ceil(GROUP_BLOCKS);
    let by_size = blocks / 4;
    let by_need = nodes + nodes / 4 + 32;
    let each = by_size
        .max(by_need)
        .div_ceil(groups)
        .next_multiple_of(BLOCK_INODES)
        .max(256);
    (each <= GROUP_BLOCKS).then_some(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stand_where_sparse_super_puts_them() {
        let found: Vec<u64> = (0..400).filter(|group| has_copy(*group)).collect();
        assert_eq!(found, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
    }

    #[test]
    fn a_last_group_without_room_for_its_head_is_left_off() {
        let plan = Plan::new(ImageSize::Fit).unwrap();
        assert_eq!(plan.usable_blocks(GROUP_BLOCKS + 300), GROUP_BLOCKS);
        assert_eq!(plan.usable_blocks(GROUP_BLOCKS + 400), GROUP_BLOCKS + 400);
        assert_eq!(plan.usable_blocks(2 * GROUP_BLOCKS + 32), 2 * GROUP_BLOCKS);
        assert_eq!(
            plan.usable_blocks(2 * GROUP_BLOCKS + 64),
            2 * GROUP_BLOCKS + 64
        );
    }

    #[test]
    fn every_limit_of_a_given_size_is_hit_once() {
        assert!(Plan::new(ImageSize::Exact(IMAGE_BYTES_MIN)).is_ok());
        assert!(Plan::new(ImageSize::Exact(IMAGE_BYTES_MIN - IMAGE_BYTES_STEP)).is_err());
        assert!(Plan::new(ImageSize::Exact(IMAGE_BYTES_MAX)).is_ok());
        assert!(Plan::new(ImageSize::Exact(IMAGE_BYTES_MAX + IMAGE_BYTES_STEP)).is_err());
        assert!(Plan::new(ImageSize::Exact(IMAGE_BYTES_MIN + 4096)).is_err());
    }

    #[test]
    fn a_least_size_is_checked_and_laid_out_as_an_exact_one() {
        let least = Plan::new(ImageSize::AtLeast(8 << 30)).unwrap();
        let exact = Plan::new(ImageSize::Exact(8 << 30)).unwrap();
        assert_eq!(
            Plan {
                may_be_larger: false,
                ..least
            },
            exact
        );
        assert!(Plan::new(ImageSize::AtLeast(IMAGE_BYTES_MIN - 1)).is_err());
    }

    #[test]
    fn a_fitted_image_has_a_quarter_and_64_mib_at_least() {
        let plan = Plan::new(ImageSize::Fit).unwrap();
        assert_eq!(plan.fitted_blocks(1000, 1000, Spare::Quarter), 17_408);
        let large = 4_000_000;
        assert!(plan.fitted_blocks(large, large, Spare::Quarter) >= large + large / 4);
    }
}
