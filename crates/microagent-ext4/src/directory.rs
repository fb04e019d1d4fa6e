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

/// What a directory lists, by position: an entry is made when it is written, so that a directory of a
/// million names is not held a second time.
pub(crate) trait Entries {
    /// How many there are.
    fn len(&self) -> usize;
    /// One of them, in the order that they shall have.
    fn get(&self, position: usize) -> Entry<'_>;
}

impl Entries for [Entry<'_>] {
    fn len(&self) -> usize {
        <[Entry<'_>]>::len(self)
    }

    fn get(&self, position: usize) -> Entry<'_> {
        self[position]
    }
}

/// Which entries stand in which block.
#[derive(Debug)]
pub(crate) struct Layout {
    frame: Frame,
    /// `None` where a list is enough.
    index: Option<Index>,
}

#[derive(Debug)]
struct Index {
    /// Hashes and positions in the order of the hashes.
    hashed: Vec<(NameHash, u32)>,
    leaves: Vec<Leaf>,
    /// Nodes between root and leaves, or none.
    nodes: usize,
}

impl Layout {
    /// Lays out a directory with `entries`.
    pub(crate) fn new(frame: Frame, entries: &(impl Entries + ?Sized)) -> Result<Self, TooLarge> {
        let mut room: usize = frame.dots().iter().map(Entry::room).sum();
        for position in 0..entries.len() {
            room += entries.get(position).room();
            if room > USABLE_BYTES {
                let index = Some(Index::new(frame, entries)?);
                return Ok(Self { frame, index });
            }
        }
        Ok(Self { frame, index: None })
    }

    /// Whether there is an index.
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        let index = self.index.as_ref();
        index.map_or(1, |index| 1 + index.nodes + index.leaves.len())
    }

    /// Writes block `number` over zeros.
    pub(crate) fn block(
        &self,
        entries: &(impl Entries + ?Sized),
        number: usize,
        block: &mut [u8; BLOCK],
    ) {
        let frame = self.frame;
        let Some(index) = &self.index else {
            let listed = (0..entries.len()).map(|position| entries.get(position));
            let all = frame.dots().into_iter().chain(listed);
            return put_leaf(block, all, frame.inode_seed);
        };
        match number {
            0 => index.put_root(block, frame),
            number if number <= index.nodes => {
                let pointers = index.pointers(number - 1);
                put_node(block, frame, &pointers);
            }
            number => {
                let leaf = &index.leaves[number - 1 - index.nodes];
                let hashed = &index.hashed[leaf.from..leaf.to];
                let entries = hashed.iter().map(|(_, at)| entries.get(*at as usize));
                put_leaf(block, entries, frame.inode_seed);
            }
        }
    }
}

impl Frame {
    fn dots(self) -> [Entry<'static>; 2] {
        const DIRECTORY: u8 = 2;
        let entry = |name, inode| Entry {
            name,
            inode,
            file_type: DIRECTORY,
        };
        [entry(&b"."[..], self.inode), entry(b"..", self.parent)]
    }
}

impl Index {
    fn new(frame: Frame, entries: &(impl Entries + ?Sized)) -> Result<Self, TooLarge> {
        let name = |position: u32| entries.get(position as usize).name;
        let count = u32::try_from(entries.len()).map_err(|_| TooLarge)?;
        let mut hashed: Vec<(NameHash, u32)> = (0..count)
            .map(|at| (directory_hash::hash(name(at), frame.hash_seed), at))
            .collect();
        hashed.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then_with(|| name(*x).cmp(name(*y))));
        let leaves = cut(hashed.iter().map(|(hash, at)| {
            let room = entries.get(*at as usize).room();
            (*hash, room)
        }));
        let nodes = if leaves.len() <= ROOT_ENTRIES {
            0
        } else {
            leaves.len().div_ceil(NODE_ENTRIES)
        };
        if nodes > ROOT_ENTRIES {
            return Err(TooLarge);
        }
        Ok(Self {
            hashed,
            leaves,
            nodes,
        })
    }

    /// Hash and block of the leaves below a node.
    fn pointers(&self, node: usize) -> Vec<(u32, u32)> {
        let first = node * NODE_ENTRIES;
        let leaves = self.leaves[first..].iter().take(NODE_ENTRIES);
        // Root, then the nodes when there are any, then the leaves.
        let block = 1 + self.nodes + first;
        let blocks = u32::try_from(block).expect("a directory is below 2^32")..;
        leaves
            .zip(blocks)
            .map(|(leaf, block)| (leaf.first_hash, block))
            .collect()
    }

    fn put_root(&self, block: &mut [u8; BLOCK], frame: Frame) {
        if self.nodes == 0 {
            return put_root(block, frame, 0, &self.pointers(0));
        }
        let nodes = self.leaves.iter().step_by(NODE_ENTRIES).zip(1..);
        let pointers: Vec<(u32, u32)> = nodes
            .map(|(leaf, block)| (leaf.first_hash, block))
            .collect();
        put_root(block, frame, 1, &pointers);
    }
}

/// A leaf: a range of the hashed entries, and the hash that the index has for it.
#[derive(Debug)]
struct Leaf {
    from: usize,
    to: usize,
    first_hash: u32,
}

/// Cuts entries, given as hash and room, into leaves.
fn cut(hashed: impl Iterator<Item = (NameHash, usize)>) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut filled = 0;
    let mut before: Option<NameHash> = None;
    for (position, (hash, room)) in hashed.enumerate() {
        if filled + room > USABLE_BYTES || leaves.is_empty() {
            // The lowest bit says that names of the same hash begin in the leaf before.
            let first_hash = match before {
                Some(before) if before.major == hash.major => hash.major | 1,
                _ => hash.major,
            };
            leaves.push(Leaf {
                from: position,
                to: position,
                first_hash,
            });
            filled = 0;
        }
        filled += room;
        leaves.last_mut().expect("one was begun").to = position + 1;
        before = Some(hash);
    }
    leaves
}

fn put_leaf<'a>(
    block: &mut [u8; BLOCK],
    entries: impl Iterator<Item = Entry<'a>>,
    inode_seed: u32,
) {
    let mut at = 0;
    let mut last = 0;
    for entry in entries {
        put_entry(&mut block[at..], &entry, entry.room());
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

fn put_root(block: &mut [u8; BLOCK], frame: Frame, levels: u8, pointers: &[(u32, u32)]) {
    let [this, parent] = frame.dots();
    put_entry(block, &this, 12);
    put_entry(&mut block[12..], &parent, BLOCK - 12);
    block[28] = HASH_VERSION;
    block[29] = 8;
    block[30] = levels;
    put_pointers(block, 32, ROOT_ENTRIES, pointers, frame.inode_seed);
}

fn put_node(block: &mut [u8; BLOCK], frame: Frame, pointers: &[(u32, u32)]) {
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
        let indexed = |entries: &[Entry]| Layout::new(frame(), entries).unwrap().is_indexed();
        let mut entries = vec![entry; 16];
        assert!(!indexed(&entries));
        entries.push(Entry {
            name: b"twentynineletterslongfilename",
            ..entry
        });
        assert!(indexed(&entries));
    }

    #[test]
    fn leaves_that_share_a_hash_say_so() {
        let hash = NameHash { major: 8, minor: 0 };
        let leaves = cut(std::iter::repeat_n((hash, 260), 40));
        assert_eq!(leaves[0].first_hash, 8);
        assert!(leaves.len() > 1 && leaves[1..].iter().all(|leaf| leaf.first_hash == 9));
    }
}
