//! Extended attributes: beside the inode where they fit, the rest in one block.
//!
//! Access control lists are carried by the kernel's calls in one form and kept on disk in
//! another; they are turned here. Everything else is kept byte for byte.

use crate::{checksum::crc32c, image::Attribute, size::BLOCK};

/// Room beside the inode's fields.
pub(crate) const IN_INODE_BYTES: usize = 96;
const MAGIC: u32 = 0xea02_0000;
const BLOCK_HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;

/// An attribute as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    // The order of the fields is the order in a block.
    index: u8,
    name_len: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Stored {
    fn room(&self) -> usize {
        (ENTRY_BYTES + self.name_len).next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }

    fn hash(&self) -> u32 {
        let mut hash = 0u32;
        for byte in &self.name {
            hash = hash.rotate_left(5) ^ u32::from(*byte);
        }
        for word in self.value.chunks(4) {
            let mut bytes = [0; 4];
            bytes[..word.len()].copy_from_slice(word);
            hash = hash.rotate_left(16) ^ u32::from_le_bytes(bytes);
        }
        hash
    }
}

/// Why attributes can't be kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AttributeError {
    /// More than one block.
    TooLarge { limit_bytes: usize },
    /// A name that Linux does not know, or a list that is none.
    Invalid { name: Box<[u8]> },
}

/// The attributes of an inode, placed.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// Bytes beside the inode, empty when there are none.
    pub(crate) in_inode: Vec<u8>,
    /// The block, without its checksum.
    pub(crate) block: Option<Box<[u8; BLOCK]>>,
}

/// Places attributes, the small ones beside the inode.
pub(crate) fn place(attributes: &[Attribute]) -> Result<Placed, AttributeError> {
    if attributes.is_empty() {
        return Ok(Placed::default());
    }
    let mut stored = attributes
        .iter()
        .map(stored)
        .collect::<Result<Vec<_>, AttributeError>>()?;
    stored.sort_unstable();
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    // The magic number and the four zero bytes that end the list.
    let mut room = IN_INODE_BYTES - 8;
    for attribute in stored {
        if attribute.room() <= room {
            room -= attribute.room();
            inside.push(attribute);
        } else {
            outside.push(attribute);
        }
    }
    let mut placed = Placed::default();
    if !inside.is_empty() {
        let mut bytes = vec![0; IN_INODE_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        entries(&mut bytes[4..], 0, 0, &inside);
        placed.in_inode = bytes;
    }
    if !outside.is_empty() {
        let limit = BLOCK - BLOCK_HEADER_BYTES - 4;
        if outside.iter().map(Stored::room).sum::<usize>() > limit {
            return Err(AttributeError::TooLarge { limit_bytes: limit });
        }
        placed.block = Some(block(&outside));
    }
    Ok(placed)
}

/// Puts the checksum into a block once its place is known.
pub(crate) fn seal(block: &mut [u8; BLOCK], file_system_seed: u32, number: u64) {
    let checksum = crc32c(crc32c(file_system_seed, &number.to_le_bytes()), &block[..]);
    block[16..20].copy_from_slice(&checksum.to_le_bytes());
}

fn block(attributes: &[Stored]) -> Box<[u8; BLOCK]> {
    let mut bytes = Box::new([0; BLOCK]);
    bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4..8].copy_from_slice(&1u32.to_le_bytes());
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    let hash = attributes.iter().fold(0u32, |hash, attribute| {
        hash.rotate_left(16) ^ attribute.hash()
    });
    bytes[12..16].copy_from_slice(&hash.to_le_bytes());
    entries(
        &mut bytes[..],
        BLOCK_HEADER_BYTES,
        BLOCK_HEADER_BYTES,
        attributes,
    );
    bytes
}

/// Writes entries from `at` upwards and values from the end downwards. Values are addressed from
/// the start of `area`.
fn entries(area: &mut [u8], mut at: usize, floor: usize, attributes: &[Stored]) {
    let mut end = area.len();
    for attribute in attributes {
        let value = &attribute.value;
        end -= value.len().next_multiple_of(4);
        let offset = if value.is_empty() { 0 } else { end };
        debug_assert!(end >= floor, "the room was counted");
        area[at] = u8::try_from(attribute.name_len).expect("names were checked");
        area[at + 1] = attribute.index;
        area[at + 2..at + 4]
            .copy_from_slice(&u16::try_from(offset).expect("within a block").to_le_bytes());
        area[at + 8..at + 12].copy_from_slice(
            &u32::try_from(value.len())
                .expect("within a block")
                .to_le_bytes(),
        );
        area[at + 12..at + 16].copy_from_slice(&attribute.hash().to_le_bytes());
        area[at + 16..at + 16 + attribute.name_len].copy_from_slice(&attribute.name);
        area[end..end + value.len()].copy_from_slice(value);
        at += (ENTRY_BYTES + attribute.name_len).next_multiple_of(4);
    }
}

fn stored(attribute: &Attribute) -> Result<Stored, AttributeError> {
    let invalid = || AttributeError::Invalid {
        name: attribute.name.clone(),
    };
    let (index, name) = split_name(&attribute.name).ok_or_else(invalid)?;
    if name.len() > 255 || name.contains(&0) {
        return Err(invalid());
    }
    let value = match index {
        2 | 3 => access_list(&attribute.value).ok_or_else(invalid)?,
        _ if attribute.value.len() > BLOCK => {
            return Err(AttributeError::TooLarge {
                limit_bytes: BLOCK - BLOCK_HEADER_BYTES - 4,
            });
        }
        _ => attribute.value.to_vec(),
    };
    Ok(Stored {
        index,
        name_len: name.len(),
        name: name.to_vec(),
        value,
    })
}

fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    match name {
        b"system.posix_acl_access" => return Some((2, b"")),
        b"system.posix_acl_default" => return Some((3, b"")),
        _ => {}
    }
    let prefixes: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
    prefixes.iter().find_map(|(prefix, index)| {
        let rest = name.strip_prefix(*prefix)?;
        (!rest.is_empty()).then_some((*index, rest))
    })
}

/// From the form of the system calls (version 2, eight bytes an entry) to the one on disk
/// (version 1, an id only where one is meant).
fn access_list(value: &[u8]) -> Option<Vec<u8>> {
    const NAMED_USER: u16 = 0x02;
    const NAMED_GROUP: u16 = 0x08;
    let entries = value.strip_prefix(&2u32.to_le_bytes())?;
    let (entries, []) = entries.as_chunks::<8>() else {
        return None;
    };
    let mut stored = 1u32.to_le_bytes().to_vec();
    for entry in entries {
        stored.extend_from_slice(&entry[..4]);
        match u16::from_le_bytes([entry[0], entry[1]]) {
            NAMED_USER | NAMED_GROUP => stored.extend_from_slice(&entry[4..]),
            0x01 | 0x04 | 0x10 | 0x20 => {}
            _ => return None,
        }
    }
    Some(stored)
}
