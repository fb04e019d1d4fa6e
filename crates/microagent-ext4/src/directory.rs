//! The blocks of a directory: one list of entries, or leaves below a hashed index.
//!
//! A directory of one block is a list. A larger one gets its index at once: the kernel builds one
//! only while a directory grows, and would search ours from end to end for ever.

use crate::{
    checksum::crc32c,
    directory_hash::{self, NameHash},
    size::BLOCK,
};

/// The checksum's entry at the end of a block.
const TAIL_BYTES: usize = 12;
const USABLE_BYTES: usize = BLOCK - TAIL_BYTES;
/// Half MD4; the superblock adds that names are unsigned bytes.
const HASH_VERSION: u8 = 1;
const ROOT_ENTRIES: usize = 507;
const NODE_ENTRIES: usize = 510;

/// A directory that needs more than two levels of index.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// One name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: u32,
    pub(crate) file_type: u8,
}

impl Entry<'_> {
    fn room(&self) -> usize {
        (8 + self.name.len()).next_multiple_of(4)
    }
}

/// What is the same in all blocks of a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) inode: u32,
    pub(crate) parent: u32,
    pub(crate) inode_seed: u32,
    pub(crate) hash_seed: [u32; 4],
}

/// The blocks, and whether they are indexed.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) bytes: Vec<u8>,
    pub(crate) indexed: bool,
}

/// Builds the blocks of a directory with `entries` in the order they shall have.
pub(crate) fn build(frame: Frame, entries: &[Entry<'_>]) -> Result<Blocks, TooLarge> {
    const DIRECTORY: u8 = 2;
    let dots = [
        Entry {
            name: b".",
            inode: frame.inode,
            file_type: DIRECTORY,
        },
        Entry {
            name: b"..",
            inode: frame.parent,
            file_type: DIRECTORY,
        },
    ];
    let room: usize = dots.iter().chain(entries).map(Entry::room).sum();
    if room > USABLE_BYTES {
        return indexed(frame, dots, entries);
    }
    let mut bytes = Vec::with_capacity(BLOCK);
    push_leaf(&mut bytes, dots.iter().chain(entries), frame.inode_seed);
    Ok(Blocks {
        bytes,
        indexed: false,
    })
}

fn indexed(frame: Frame, dots: [Entry<'_>; 2], entries: &[Entry<'_>]) -> Result<Blocks, TooLarge> {
    let mut hashed: Vec<(NameHash, &Entry<'_>)> = entries
        .iter()
        .map(|entry| (directory_hash::hash(entry.name, frame.hash_seed), entry))
        .collect();
    hashed.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(y.name)));

    let leaves = cut(&hashed);
    let nodes = if leaves.len() <= ROOT_ENTRIES {
        0
    } else {
        leaves.len().div_ceil(NODE_ENTRIES)
    };
    if nodes > ROOT_ENTRIES {
        return Err(TooLarge);
    }
    // Root, then the nodes when there are any, then the leaves.
    let leaf_at = |leaf: usize| u32::try_from(1 + nodes + leaf).expect("a directory is below 2^32");
    let pointers: Vec<(u32, u32)> = leaves
        .iter()
        .enumerate()
        .map(|(number, leaf)| (leaf.first_hash, leaf_at(number)))
        .collect();

    let mut bytes = Vec::with_capacity((1 + nodes + leaves.len()) * BLOCK);
    if nodes == 0 {
        push_root(&mut bytes, frame, dots, 0, &pointers);
    } else {
        let above: Vec<(u32, u32)> = pointers
            .chunks(NODE_ENTRIES)
            .zip(1..)
            .map(|(chunk, block)| (chunk[0].0, block))
            .collect();
        push_root(&mut bytes, frame, dots, 1, &above);
        for chunk in pointers.chunks(NODE_ENTRIES) {
            push_node(&mut bytes, frame, chunk);
        }
    }
    for leaf in &leaves {
        let entries = hashed[leaf.from..leaf.to].iter().map(|(_, entry)| *entry);
        push_leaf(&mut bytes, entries, frame.inode_seed);
    }
    Ok(Blocks {
        bytes,
        indexed: true,
    })
}

/// A leaf: a range of the hashed entries, and the hash that the index has for it.
struct Leaf {
    from: usize,
    to: usize,
    first_hash: u32,
}

fn cut(hashed: &[(NameHash, &Entry<'_>)]) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut room = 0;
    for (position, (hash, entry)) in hashed.iter().enumerate() {
        if room + entry.room() > USABLE_BYTES || leaves.is_empty() {
            // The lowest bit says that names of the same hash begin in the leaf before.
            let first_hash = match position.checked_sub(1) {
                Some(before) if hashed[before].0.major == hash.major => hash.major | 1,
                _ => hash.major,
            };
            leaves.push(Leaf {
                from: position,
                to: position,
                first_hash,
            });
            room = 0;
        }
        room += entry.room();
        leaves.last_mut().expect("one was begun").to = position + 1;
    }
    leaves
}

fn push_leaf<'a>(
    bytes: &mut Vec<u8>,
    entries: impl Iterator<Item = &'a Entry<'a>>,
    inode_seed: u32,
) {
    let start = bytes.len();
    bytes.resize(start + BLOCK, 0);
    let block = &mut bytes[start..];
    let mut at = 0;
    let mut last = 0;
    for entry in entries {
        put_entry(&mut block[at..], entry, entry.room());
        last = at;
        at += entry.room();
    }
    // The last entry reaches up to the tail.
    let length = u16::try_from(USABLE_BYTES - last).expect("less than a block");
    block[last + 4..last + 6].copy_from_slice(&length.to_le_bytes());
    block[USABLE_BYTES + 4] = 12;
    block[USABLE_BYTES + 7] = 0xde;
    let checksum = crc32c(inode_seed, &block[..USABLE_BYTES]);
    block[USABLE_BYTES + 8..].copy_from_slice(&checksum.to_le_bytes());
}

fn put_entry(at: &mut [u8], entry: &Entry<'_>, length: usize) {
    at[0..4].copy_from_slice(&entry.inode.to_le_bytes());
    at[4..6].copy_from_slice(
        &u16::try_from(length)
            .expect("less than a block")
            .to_le_bytes(),
    );
    at[6] = u8::try_from(entry.name.len()).expect("names were checked");
    at[7] = entry.file_type;
    at[8..8 + entry.name.len()].copy_from_slice(entry.name);
}

fn push_root(
    bytes: &mut Vec<u8>,
    frame: Frame,
    dots: [Entry<'_>; 2],
    levels: u8,
    pointers: &[(u32, u32)],
) {
    let start = bytes.len();
    bytes.resize(start + BLOCK, 0);
    let block = &mut bytes[start..];
    put_entry(block, &dots[0], 12);
    put_entry(&mut block[12..], &dots[1], BLOCK - 12);
    block[28] = HASH_VERSION;
    block[29] = 8;
    block[30] = levels;
    put_pointers(block, 32, ROOT_ENTRIES, pointers, frame.inode_seed);
}

fn push_node(bytes: &mut Vec<u8>, frame: Frame, pointers: &[(u32, u32)]) {
    let start = bytes.len();
    bytes.resize(start + BLOCK, 0);
    let block = &mut bytes[start..];
    let length = u16::try_from(BLOCK).expect("4096");
    block[4..6].copy_from_slice(&length.to_le_bytes());
    put_pointers(block, 8, NODE_ENTRIES, pointers, frame.inode_seed);
}

/// The first pointer has no hash; limit and count stand in its place.
fn put_pointers(block: &mut [u8], at: usize, limit: usize, pointers: &[(u32, u32)], seed: u32) {
    for (position, (hash, target)) in pointers.iter().enumerate() {
        let entry = at + position * 8;
        block[entry..entry + 4].copy_from_slice(&hash.to_le_bytes());
        block[entry + 4..entry + 8].copy_from_slice(&target.to_le_bytes());
    }
    let limit = u16::try_from(limit).expect("less than a block");
    let count = u16::try_from(pointers.len()).expect("less than a block");
    block[at..at + 2].copy_from_slice(&limit.to_le_bytes());
    block[at + 2..at + 4].copy_from_slice(&count.to_le_bytes());
    let filled = at + pointers.len() * 8;
    let tail = BLOCK - 8;
    let checksum = crc32c(crc32c(seed, &block[..filled]), &[0; 8]);
    block[tail + 4..].copy_from_slice(&checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame {
            inode: 12,
            parent: 2,
            inode_seed: 1,
            hash_seed: [1, 2, 3, 4],
        }
    }

    #[test]
    fn a_directory_stays_a_list_up_to_one_block_and_not_beyond() {
        let name = [b'n'; 244];
        let entry = Entry {
            name: &name,
            inode: 13,
            file_type: 1,
        };
        // 24 bytes are the dots', so 16 entries of 252 bytes leave 28.
        let mut entries = vec![entry; 16];
        assert!(!build(frame(), &entries).unwrap().indexed);
        entries.push(Entry {
            name: b"twentynineletterslongfilename",
            ..entry
        });
        assert!(build(frame(), &entries).unwrap().indexed);
    }

    #[test]
    fn leaves_that_share_a_hash_say_so() {
        let name = [b'n'; 250];
        let entry = Entry {
            name: &name,
            inode: 13,
            file_type: 1,
        };
        let hash = NameHash { major: 8, minor: 0 };
        let hashed = vec![(hash, &entry); 40];
        let leaves = cut(&hashed);
        assert_eq!(leaves[0].first_hash, 8);
        assert!(leaves.len() > 1 && leaves[1..].iter().all(|leaf| leaf.first_hash == 9));
    }
}
