//! The 256 bytes of an inode.

use crate::{
    checksum::{crc32c, inode_seed},
    image::Timestamp,
    tree::MetadataView,
    xattr::IN_INODE_BYTES,
};

/// Bytes beyond the old 128 that hold fields; the rest is for attributes.
const EXTRA_BYTES: u16 = 32;
/// The inode's blocks are described by an extent tree.
pub(crate) const FLAG_EXTENTS: u32 = 0x8_0000;
/// The directory is indexed.
pub(crate) const FLAG_INDEX: u32 = 0x1000;

/// The bits of the mode that say what an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular,
    Directory,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl FileType {
    fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The type as a directory entry repeats it.
    pub(crate) fn entry_type(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharacterDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
}

/// What an inode says.
#[derive(Debug)]
pub(crate) struct Inode<'a> {
    pub(crate) file_type: FileType,
    pub(crate) metadata: MetadataView<'a>,
    pub(crate) links: u16,
    pub(crate) size: u64,
    /// Blocks in use, those of the extent tree and of attributes included.
    pub(crate) blocks: u64,
    pub(crate) flags: u32,
    /// Extent root, link target, or device number.
    pub(crate) area: [u8; 60],
    /// The block with more attributes, or 0.
    pub(crate) attribute_block: u64,
    /// Attributes beside the fields, empty or exactly the room there is.
    pub(crate) attributes: Vec<u8>,
}

impl Inode<'_> {
    /// The bytes, with their checksum.
    pub(crate) fn encode(&self, file_system_seed: u32, number: u32) -> [u8; 256] {
        let mut bytes = [0u8; 256];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let metadata = self.metadata;
        let uid = metadata.uid.to_le_bytes();
        let gid = metadata.gid.to_le_bytes();
        let size = self.size.to_le_bytes();
        let sectors = (self.blocks * 8).to_le_bytes();
        let acl = self.attribute_block.to_le_bytes();
        let (seconds, extra) = time(metadata.modified);
        put(
            0,
            &(self.file_type.mode_bits() | metadata.mode & 0o7777).to_le_bytes(),
        );
        put(2, &uid[0..2]);
        put(4, &size[0..4]);
        put(8, &seconds);
        put(12, &seconds);
        put(16, &seconds);
        put(24, &gid[0..2]);
        put(26, &self.links.to_le_bytes());
        put(28, &sectors[0..4]);
        put(32, &self.flags.to_le_bytes());
        put(40, &self.area);
        put(104, &acl[0..4]);
        put(108, &size[4..8]);
        put(116, &sectors[4..6]);
        put(118, &acl[4..6]);
        put(120, &uid[2..4]);
        put(122, &gid[2..4]);
        put(128, &EXTRA_BYTES.to_le_bytes());
        put(132, &extra);
        put(136, &extra);
        put(140, &extra);
        put(144, &seconds);
        put(148, &extra);
        debug_assert!(self.attributes.is_empty() || self.attributes.len() == IN_INODE_BYTES);
        put(160, &self.attributes);
        seal(&mut bytes, file_system_seed, number);
        bytes
    }
}

/// An inode that is reserved and not used.
pub(crate) fn unused(file_system_seed: u32, number: u32) -> [u8; 256] {
    let mut bytes = [0u8; 256];
    bytes[128..130].copy_from_slice(&EXTRA_BYTES.to_le_bytes());
    seal(&mut bytes, file_system_seed, number);
    bytes
}

fn seal(bytes: &mut [u8; 256], file_system_seed: u32, number: u32) {
    let checksum = crc32c(inode_seed(file_system_seed, number), &bytes[..]).to_le_bytes();
    bytes[124..126].copy_from_slice(&checksum[0..2]);
    bytes[130..132].copy_from_slice(&checksum[2..4]);
}

/// The low 32 bits of the seconds, and two more bits with the nanoseconds.
fn time(time: Timestamp) -> ([u8; 4], [u8; 4]) {
    const FIRST: i64 = i32::MIN as i64;
    const LAST: i64 = FIRST + (1 << 34) - 1;
    let seconds = time.seconds.clamp(FIRST, LAST);
    let low = seconds.to_le_bytes();
    let low = [low[0], low[1], low[2], low[3]];
    let epoch = (seconds - i64::from(i32::from_le_bytes(low))) >> 32;
    let epoch = u32::try_from(epoch).expect("two bits");
    (
        low,
        (time.nanoseconds.min(999_999_999) << 2 | epoch).to_le_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(low: [u8; 4], extra: [u8; 4]) -> (i64, u32) {
        let extra = u32::from_le_bytes(extra);
        (
            i64::from(i32::from_le_bytes(low)) + (i64::from(extra & 3) << 32),
            extra >> 2,
        )
    }

    #[test]
    fn every_time_that_ext4_holds_comes_back() {
        for seconds in [
            -(1 << 31),
            -1,
            0,
            1,
            (1 << 31) - 1,
            1 << 31,
            1 << 32,
            (1 << 34) - (1 << 31) - 1,
        ] {
            let (low, extra) = time(Timestamp {
                seconds,
                nanoseconds: 999_999_999,
            });
            assert_eq!(read_back(low, extra), (seconds, 999_999_999));
        }
    }

    #[test]
    fn a_time_outside_is_moved_to_the_nearer_end() {
        for (given, kept) in [
            (i64::MIN, -(1 << 31)),
            (i64::MAX, (1 << 34) - (1 << 31) - 1),
        ] {
            let (low, extra) = time(Timestamp {
                seconds: given,
                nanoseconds: 0,
            });
            assert_eq!(read_back(low, extra), (kept, 0));
        }
    }
}
