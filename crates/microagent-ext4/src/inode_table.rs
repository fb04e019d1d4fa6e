//! Writes inodes to their places.
//!
//! They come nearly in order, so they are gathered; the ones of the first block come in any order
//! and are written last.

use crate::{
    checksum::{file_system_seed, inode_seed},
    directory::Frame,
    group::Tables,
    image::{Identity, ImageError},
    inode::Inode,
    output::Output,
    sink::Sink,
    size::{BLOCK, BLOCK_BYTES, BLOCK_INODES, INODE, INODE_BYTES},
};

/// What the kernel takes for a seed of zeros.
const DEFAULT_HASH_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The inode tables of the groups that have inodes in use.
pub(crate) struct InodeTable {
    seed: u32,
    hash_seed: [u32; 4],
    inodes_per_group: u64,
    tables: Vec<u64>,
    /// Directories by group.
    directories: Vec<u64>,
    /// The inodes 1 to 16 come in any order and are kept until the end.
    first: [u8; BLOCK],
    gathered: Vec<u8>,
    offset: u64,
}

impl InodeTable {
    const GATHERED_BYTES_MAX: usize = 256 << 10;

    pub(crate) fn new(identity: &Identity, tables: &[Tables], inodes_per_group: u64) -> Self {
        Self {
            seed: file_system_seed(&identity.uuid),
            hash_seed: hash_seed(&identity.uuid),
            inodes_per_group,
            tables: tables.iter().map(|group| group.inode_table).collect(),
            directories: vec![0; tables.len()],
            first: [0; BLOCK],
            gathered: Vec::with_capacity(Self::GATHERED_BYTES_MAX),
            offset: 0,
        }
    }

    /// The seed of the file system's checksums.
    pub(crate) fn seed(&self) -> u32 {
        self.seed
    }

    /// Directories by group.
    pub(crate) fn directories(&self) -> &[u64] {
        &self.directories
    }

    pub(crate) fn frame(&self, inode: u32, parent: u32) -> Frame {
        let inode_seed = inode_seed(self.seed, inode);
        Frame {
            inode,
            parent,
            inode_seed,
            hash_seed: self.hash_seed,
        }
    }

    fn place(&self, number: u32) -> (usize, u64) {
        let index = u64::from(number) - 1;
        let group = usize::try_from(index / self.inodes_per_group).expect("a count of groups");
        (group, index % self.inodes_per_group)
    }

    pub(crate) fn count_directory(&mut self, number: u32) {
        let (group, _) = self.place(number);
        self.directories[group] += 1;
    }

    pub(crate) fn put<S: Sink>(
        &mut self,
        number: u32,
        inode: &Inode<'_>,
        output: &mut Output<S>,
    ) -> Result<(), ImageError> {
        self.put_bytes(number, inode.encode(self.seed, number), output)
    }

    pub(crate) fn put_bytes<S: Sink>(
        &mut self,
        number: u32,
        bytes: [u8; INODE],
        output: &mut Output<S>,
    ) -> Result<(), ImageError> {
        let (group, index) = self.place(number);
        if u64::from(number) <= BLOCK_INODES {
            let at = usize::try_from(index * INODE_BYTES).expect("within a block");
            self.first[at..at + bytes.len()].copy_from_slice(&bytes);
            return Ok(());
        }
        let offset = self.tables[group] * BLOCK_BYTES + index * INODE_BYTES;
        let follows = self.offset + self.gathered.len() as u64 == offset;
        if !follows || self.gathered.len() + bytes.len() > Self::GATHERED_BYTES_MAX {
            self.write_gathered(output)?;
            self.offset = offset;
        }
        self.gathered.extend_from_slice(&bytes);
        Ok(())
    }

    fn write_gathered<S: Sink>(&mut self, output: &mut Output<S>) -> Result<(), ImageError> {
        if !self.gathered.is_empty() {
            output.write_now(self.offset, &self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }

    pub(crate) fn flush<S: Sink>(&mut self, output: &mut Output<S>) -> Result<(), ImageError> {
        self.write_gathered(output)?;
        output.write_now(self.tables[0] * BLOCK_BYTES, &self.first)
    }
}

/// The seed of the hashes of names, made from the id of the file system.
pub(crate) fn hash_seed(uuid: &[u8; 16]) -> [u32; 4] {
    if *uuid == [0; 16] {
        return DEFAULT_HASH_SEED;
    }
    let (words, _) = uuid.as_chunks::<4>();
    [words[0], words[1], words[2], words[3]].map(u32::from_le_bytes)
}
