//! A root disk larger than its file system: the guest's own kernel grows it, mounted.
//!
//! One look at the superblock tells whether there is anything to do, so an ordinary boot pays one
//! read. The image is the guest's own, so is the risk of reading it.
#![expect(unsafe_code, reason = "an ioctl that only ext4 has")]
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door"
)]

use super::device::BlockDevice;
use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Where an ext4 superblock lies, and how much of it is looked at.
const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
/// `EXT4_IOC_RESIZE_FS`: the new size in blocks.
const RESIZE_FS: rustix::ioctl::Opcode = opcode::write::<u64>(b'f', 16);

/// How an ext4 file system is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    block_bytes: u64,
    blocks: u64,
}

fn layout(superblock: &[u8; SUPERBLOCK_BYTES]) -> Option<Layout> {
    let word = |at: usize| {
        let bytes = superblock[at..at + 4].try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    const MAGIC: [u8; 2] = [0x53, 0xef];
    const INCOMPAT_64BIT: u64 = 0x80;
    let log_block = word(0x18)?;
    if superblock[0x38..0x3a] != MAGIC || log_block > 6 {
        return None;
    }
    let has_high = word(0x60)? & INCOMPAT_64BIT != 0;
    let high = if has_high { word(0x150)? } else { 0 };
    Some(Layout {
        block_bytes: 1024 << log_block,
        blocks: high << 32 | word(0x04)?,
    })
}

/// Grows the mounted file system at `mount` to the size of its device; gives the bytes gained.
pub(super) fn grow(device: &BlockDevice, mount: &str) -> io::Result<Option<u64>> {
    let mut superblock = [0; SUPERBLOCK_BYTES];
    File::open(&device.node)?.read_exact_at(&mut superblock, SUPERBLOCK_AT)?;
    let Some(layout) = layout(&superblock) else {
        return Ok(None);
    };
    let blocks = device.size_bytes() / layout.block_bytes;
    if blocks <= layout.blocks {
        return Ok(None);
    }
    let root = File::open(mount)?;
    // SAFETY: the request takes a pointer to one `u64` and writes nothing back.
    let request = unsafe { Setter::<{ RESIZE_FS }, u64>::new(blocks) };
    // SAFETY: the descriptor is a folder of an ext4 file system, which knows this request; any other
    // refuses it.
    unsafe { ioctl(&root, request) }?;
    Ok(Some((blocks - layout.blocks) * layout.block_bytes))
}

#[cfg(test)]
mod tests {
    use super::{Layout, SUPERBLOCK_BYTES, layout};

    fn superblock(log_block: u32, low: u32, high: u32, incompat: u32) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        bytes[0x04..0x08].copy_from_slice(&low.to_le_bytes());
        bytes[0x18..0x1c].copy_from_slice(&log_block.to_le_bytes());
        bytes[0x38..0x3a].copy_from_slice(&0xef53_u16.to_le_bytes());
        bytes[0x60..0x64].copy_from_slice(&incompat.to_le_bytes());
        bytes[0x150..0x154].copy_from_slice(&high.to_le_bytes());
        bytes
    }

    #[test]
    fn the_size_of_a_file_system_is_read_from_its_superblock() {
        let of = |log, low, high, incompat| layout(&superblock(log, low, high, incompat));
        assert_eq!(
            of(2, 1000, 0, 0),
            Some(Layout {
                block_bytes: 4096,
                blocks: 1000
            })
        );
        assert_eq!(
            of(0, 5, 1, 0x80),
            Some(Layout {
                block_bytes: 1024,
                blocks: (1 << 32) + 5
            })
        );
        assert_eq!(
            of(2, 5, 1, 0),
            Some(Layout {
                block_bytes: 4096,
                blocks: 5
            })
        );
        assert_eq!(of(40, 5, 0, 0), None);
        assert_eq!(layout(&[0; SUPERBLOCK_BYTES]), None);
    }
}
