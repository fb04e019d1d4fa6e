//! Groups: who is where, which blocks and inodes are in use, and the descriptor that says so.

use crate::{
    allocator::Run,
    checksum::crc32c,
    size::{BLOCK, DESCRIPTOR, GROUP_BLOCKS, has_copy},
};

/// The inode table's bitmap is not written; all its inodes are free.
const INODES_UNWRITTEN: u16 = 1;
/// The block bitmap is not written; nothing but the head is in use.
const BLOCKS_UNWRITTEN: u16 = 2;
/// The inode table is zeros where it is not used, so the kernel need not clear it.
const TABLE_ZEROED: u16 = 4;

/// Where the tables of a group are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
}

/// What is the same for all groups.
#[derive(Debug)]
pub(crate) struct Groups<'a> {
    pub(crate) total_blocks: u64,
    pub(crate) head_blocks: u64,
    /// Nothing beyond it is in use but heads.
    pub(crate) cursor: u64,
    /// Free runs below the cursor, in order.
    pub(crate) free: &'a [Run],
    pub(crate) inodes_per_group: u64,
    pub(crate) inodes_used: u64,
    pub(crate) file_system_seed: u32,
}

/// A group, counted.
#[derive(Debug)]
pub(crate) struct Group {
    /// `None` where it need not be written.
    pub(crate) block_bitmap: Option<Vec<u8>>,
    /// `None` where it need not be written.
    pub(crate) inode_bitmap: Option<Vec<u8>>,
    pub(crate) descriptor: [u8; DESCRIPTOR],
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u64,
}

impl Groups<'_> {
    /// How many groups there are.
    pub(crate) fn count(&self) -> u64 {
        self.total_blocks.div_ceil(GROUP_BLOCKS)
    }

    /// Counts group `number` with `directories` directories in it.
    pub(crate) fn group(&self, number: u64, tables: Tables, directories: u64) -> Group {
        let start = number * GROUP_BLOCKS;
        let end = (start + GROUP_BLOCKS).min(self.total_blocks);
        let blocks = self.block_bitmap(number, start, end);
        let free_blocks = (end - start) - (count_ones(&blocks) - (GROUP_BLOCKS - (end - start)));
        let used = self
            .inodes_used
            .saturating_sub(number * self.inodes_per_group)
            .min(self.inodes_per_group);
        let free_inodes = self.inodes_per_group - used;

        let mut flags = TABLE_ZEROED;
        let is_last = number + 1 == self.count();
        let block_bitmap = if start >= self.cursor && !is_last {
            flags |= BLOCKS_UNWRITTEN;
            None
        } else {
            Some(blocks)
        };
        let inode_bitmap = if used == 0 {
            flags |= INODES_UNWRITTEN;
            None
        } else {
            let mut bitmap = vec![0; BLOCK];
            set(&mut bitmap, 0, used);
            set(&mut bitmap, self.inodes_per_group, GROUP_BLOCKS);
            Some(bitmap)
        };
        let inode_bitmap_bytes =
            usize::try_from(self.inodes_per_group / 8).expect("at most a block");
        let sum = |bitmap: Option<&[u8]>| bitmap.map_or(0, |b| crc32c(self.file_system_seed, b));
        let descriptor = self.descriptor(&Description {
            number,
            tables,
            free_blocks,
            free_inodes,
            directories,
            flags,
            block_sum: sum(block_bitmap.as_deref()),
            inode_sum: sum(inode_bitmap
                .as_deref()
                .map(|bitmap| &bitmap[..inode_bitmap_bytes])),
        });
        Group {
            block_bitmap,
            inode_bitmap,
            descriptor,
            free_blocks,
            free_inodes,
        }
    }

    fn block_bitmap(&self, number: u64, start: u64, end: u64) -> Vec<u8> {
        let mut bitmap = vec![0; BLOCK];
        let used_to = self.cursor.clamp(start, end);
        set(&mut bitmap, 0, used_to - start);
        let first = self.free.partition_point(|run| run.end() <= start);
        for run in self.free[first..].iter().take_while(|run| run.start < end) {
            let from = run.start.max(start) - start;
            clear(&mut bitmap, from, run.end().min(end) - start);
        }
        if has_copy(number) {
            set(&mut bitmap, 0, self.head_blocks);
        }
        set(&mut bitmap, end - start, GROUP_BLOCKS);
        bitmap
    }

    fn descriptor(&self, group: &Description) -> [u8; DESCRIPTOR] {
        let mut bytes = [0; DESCRIPTOR];
        let mut split = |value: u64, low: usize, high: usize, width: usize| {
            let value = value.to_le_bytes();
            bytes[low..low + width].copy_from_slice(&value[..width]);
            bytes[high..high + width].copy_from_slice(&value[width..2 * width]);
        };
        split(group.tables.block_bitmap, 0, 32, 4);
        split(group.tables.inode_bitmap, 4, 36, 4);
        split(group.tables.inode_table, 8, 40, 4);
        split(group.free_blocks, 12, 44, 2);
        split(group.free_inodes, 14, 46, 2);
        split(group.directories, 16, 48, 2);
        split(u64::from(group.block_sum), 24, 56, 2);
        split(u64::from(group.inode_sum), 26, 58, 2);
        // Inodes are handed out from the start, so the free ones are all behind the used ones.
        split(group.free_inodes, 28, 50, 2);
        bytes[18..20].copy_from_slice(&group.flags.to_le_bytes());
        let number = u32::try_from(group.number)
            .expect("fewer than 2^32 groups")
            .to_le_bytes();
        let checksum = crc32c(crc32c(self.file_system_seed, &number), &bytes);
        bytes[30..32].copy_from_slice(&checksum.to_le_bytes()[..2]);
        bytes
    }
}

/// What a descriptor says.
struct Description {
    number: u64,
    tables: Tables,
    free_blocks: u64,
    free_inodes: u64,
    directories: u64,
    flags: u16,
    block_sum: u32,
    inode_sum: u32,
}

fn count_ones(bitmap: &[u8]) -> u64 {
    bitmap.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

fn set(bitmap: &mut [u8], from: u64, to: u64) {
    change(bitmap, from, to, |byte, mask| byte | mask);
}

fn clear(bitmap: &mut [u8], from: u64, to: u64) {
    change(bitmap, from, to, |byte, mask| byte & !mask);
}

fn change(bitmap: &mut [u8], from: u64, to: u64, with: impl Fn(u8, u8) -> u8) {
    let mut bit = from;
    while bit < to {
        let byte = &mut bitmap[usize::try_from(bit / 8).expect("within a block")];
        let until = (bit / 8 * 8 + 8).min(to);
        let mask = (0xffu8 << (bit % 8)) & (0xffu8 >> (bit / 8 * 8 + 8 - until));
        *byte = with(*byte, mask);
        bit = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_cleared_exactly() {
        for (from, to) in [(0, 0), (0, 1), (3, 5), (7, 9), (1, 31), (8, 16), (0, 32)] {
            let mut bitmap = vec![0; 4];
            set(&mut bitmap, from, to);
            assert_eq!(count_ones(&bitmap), to - from, "{from}..{to}");
            for bit in 0..32 {
                let byte = bitmap[usize::try_from(bit / 8).unwrap()];
                let is_set = byte >> (bit % 8) & 1 == 1;
                assert_eq!(is_set, (from..to).contains(&bit));
            }
            clear(&mut bitmap, from, to);
            assert_eq!(count_ones(&bitmap), 0);
        }
    }
}
