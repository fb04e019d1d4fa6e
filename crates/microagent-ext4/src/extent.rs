//! Extents: which blocks of a file lie where, and the tree that says so on disk.

use crate::{
    allocator::{Allocator, Run},
    checksum::crc32c,
    image::ImageError,
    output::Output,
    sink::Sink,
    size::BLOCK,
};

/// The longest extent whose blocks are all written.
pub(crate) const EXTENT_BLOCKS_MAX: u32 = 32_768;
/// Entries that fit into an inode.
const ROOT_ENTRIES: usize = 4;
/// Entries that fit into a block, beside its header and its checksum.
const BLOCK_ENTRIES: usize = 340;
const HEADER_BYTES: usize = 12;
const MAGIC: u16 = 0xf30a;

/// A part of a file and where it is, in twelve bytes: an image has one for each file at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its first block in the file.
    logical: u32,
    /// Its first block in the image, which has at most 2^32.
    start: u32,
    /// Its length in blocks.
    len: u16,
}

impl Extent {
    /// Blocks of a file that lie at `run`, at most [`EXTENT_BLOCKS_MAX`].
    pub(crate) fn new(logical: u32, run: Run) -> Self {
        Self {
            logical,
            start: u32::try_from(run.start).expect("an image has at most 2^32 blocks"),
            len: u16::try_from(run.len).expect("an extent is at most 32768 blocks"),
        }
    }

    /// Its first block in the image.
    pub(crate) fn start(self) -> u64 {
        u64::from(self.start)
    }

    /// Its length in blocks.
    pub(crate) fn len(self) -> u32 {
        u32::from(self.len)
    }

    /// Where it is.
    pub(crate) fn run(self) -> Run {
        Run {
            start: self.start(),
            len: u64::from(self.len),
        }
    }

    /// Takes in blocks that follow it in the file and in the image, where it has room for them.
    pub(crate) fn extend(&mut self, logical: u32, run: Run) -> bool {
        let follows = self.logical + self.len() == logical && self.run().end() == run.start;
        let longer = u64::from(self.len) + run.len;
        if !follows || longer > u64::from(EXTENT_BLOCKS_MAX) {
            return false;
        }
        self.len = u16::try_from(longer).expect("bounded above");
        true
    }

    fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&self.logical.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.start.to_le_bytes());
        bytes
    }
}

/// What an inode holds of a file's extents.
#[derive(Debug)]
pub(crate) struct ExtentRoot {
    /// The 60 bytes in the inode.
    pub(crate) bytes: [u8; 60],
    /// Blocks that the tree itself takes.
    pub(crate) tree_blocks: u64,
}

/// Writes the tree of `extents` and gives its root.
pub(crate) fn write_tree<S: Sink>(
    extents: impl Iterator<Item = Extent>,
    inode_seed: u32,
    allocator: &mut Allocator,
    output: &mut Output<S>,
) -> Result<ExtentRoot, ImageError> {
    let mut entries: Vec<[u8; 12]> = extents.map(Extent::encode).collect();
    let mut depth = 0u16;
    let mut tree_blocks = 0;
    while entries.len() > ROOT_ENTRIES {
        let mut above = Vec::with_capacity(entries.len().div_ceil(BLOCK_ENTRIES));
        for chunk in entries.chunks(BLOCK_ENTRIES) {
            let block = allocator.take_some(1)?.start;
            let mut bytes = [0u8; BLOCK];
            node(&mut bytes, chunk, BLOCK_ENTRIES, depth);
            let checksum = crc32c(inode_seed, &bytes[..BLOCK - 4]);
            bytes[BLOCK - 4..].copy_from_slice(&checksum.to_le_bytes());
            output.write_block(block, &bytes)?;
            tree_blocks += 1;
            above.push(index(&chunk[0], block));
        }
        entries = above;
        depth += 1;
    }
    let mut bytes = [0; 60];
    node(&mut bytes, &entries, ROOT_ENTRIES, depth);
    Ok(ExtentRoot { bytes, tree_blocks })
}

fn node(bytes: &mut [u8], entries: &[[u8; 12]], capacity: usize, depth: u16) {
    let count = u16::try_from(entries.len()).expect("at most a block");
    let capacity = u16::try_from(capacity).expect("at most a block");
    bytes[0..2].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[2..4].copy_from_slice(&count.to_le_bytes());
    bytes[4..6].copy_from_slice(&capacity.to_le_bytes());
    bytes[6..8].copy_from_slice(&depth.to_le_bytes());
    bytes[HEADER_BYTES..HEADER_BYTES + entries.len() * 12].copy_from_slice(entries.as_flattened());
}

/// An entry that points to the node which begins with `first`.
fn index(first: &[u8; 12], block: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0..4].copy_from_slice(&first[0..4]);
    let block = block.to_le_bytes();
    bytes[4..8].copy_from_slice(&block[0..4]);
    bytes[8..10].copy_from_slice(&block[4..6]);
    bytes
}
