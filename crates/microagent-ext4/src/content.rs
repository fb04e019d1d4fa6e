//! Places the bytes of files in the order in which they come.
//!
//! Each file begins at a block of its own. Blocks that hold only zeros are left out, so a sparse
//! file stays sparse even when the archive that carried it was not.

use crate::{
    allocator::{Allocator, Run},
    extent::{EXTENT_BLOCKS_MAX, Extent},
    image::{ContentId, FILE_BYTES_MAX, ImageError},
    output::Output,
    sink::Sink,
    size::{BLOCK, BLOCK_BYTES},
};

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// One closed content: how long, and which extents of the store are its.
#[derive(Debug, Clone, Copy)]
struct Content {
    size: u64,
    first: usize,
    count: usize,
}

/// The content that is open.
#[derive(Debug)]
struct Open {
    size: u64,
    first: usize,
    /// The beginning of the block that is not full yet.
    partial: usize,
}

/// All contents of an image.
#[derive(Debug)]
pub(crate) struct ContentStore {
    contents: Vec<Content>,
    extents: Vec<Extent>,
    open: Option<Open>,
    partial: Box<[u8; BLOCK]>,
}

impl ContentStore {
    pub(crate) fn new() -> Self {
        Self {
            contents: Vec::new(),
            extents: Vec::new(),
            open: None,
            partial: Box::new(ZEROS),
        }
    }

    pub(crate) fn begin(&mut self) {
        assert!(self.open.is_none(), "the content before is closed");
        self.open = Some(Open {
            size: 0,
            first: self.extents.len(),
            partial: 0,
        });
    }

    pub(crate) fn append<S: Sink>(
        &mut self,
        mut bytes: &[u8],
        allocator: &mut Allocator,
        output: &mut Output<S>,
    ) -> Result<(), ImageError> {
        let open = self.open.as_mut().expect("a content is open");
        let begun = open.partial;
        let block = u32::try_from(open.size / BLOCK_BYTES).expect("a size is below the limit");
        open.size = grown(open.size, bytes.len() as u64)?;
        let first = open.first;
        let mut logical = block;
        if begun > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - begun));
            self.partial[begun..begun + head.len()].copy_from_slice(head);
            open.partial = begun + head.len();
            if open.partial < BLOCK {
                return Ok(());
            }
            open.partial = 0;
            bytes = rest;
            place(
                &mut self.extents,
                first,
                logical,
                self.partial.as_slice(),
                allocator,
                output,
            )?;
            logical += 1;
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        place(&mut self.extents, first, logical, whole, allocator, output)?;
        self.partial[..rest.len()].copy_from_slice(rest);
        open.partial = rest.len();
        Ok(())
    }

    pub(crate) fn append_hole<S: Sink>(
        &mut self,
        len: u64,
        allocator: &mut Allocator,
        output: &mut Output<S>,
    ) -> Result<(), ImageError> {
        let open = self.open.as_ref().expect("a content is open");
        let to_block = if open.partial == 0 {
            0
        } else {
            (BLOCK - open.partial) as u64
        };
        let head = to_block.min(len);
        self.append(
            &ZEROS[..usize::try_from(head).expect("less than a block")],
            allocator,
            output,
        )?;
        let whole = (len - head) / BLOCK_BYTES * BLOCK_BYTES;
        let open = self.open.as_mut().expect("a content is open");
        open.size = grown(open.size, whole)?;
        let tail = usize::try_from(len - head - whole).expect("less than a block");
        self.append(&ZEROS[..tail], allocator, output)
    }

    pub(crate) fn end<S: Sink>(
        &mut self,
        allocator: &mut Allocator,
        output: &mut Output<S>,
    ) -> Result<ContentId, ImageError> {
        let open = self.open.take().expect("a content is open");
        if open.partial > 0 {
            self.partial[open.partial..].fill(0);
            let logical =
                u32::try_from(open.size / BLOCK_BYTES).expect("a size is below the limit");
            place(
                &mut self.extents,
                open.first,
                logical,
                self.partial.as_slice(),
                allocator,
                output,
            )?;
        }
        let id = u32::try_from(self.contents.len()).map_err(|_| ImageError::TooManyBlocks)?;
        let count = self.extents.len() - open.first;
        self.contents.push(Content {
            size: open.size,
            first: open.first,
            count,
        });
        Ok(ContentId(id))
    }

    /// How many contents there are.
    pub(crate) fn len(&self) -> usize {
        assert!(self.open.is_none(), "every content is closed");
        self.contents.len()
    }

    /// Length and extents of a content.
    pub(crate) fn get(&self, id: ContentId) -> (u64, &[Extent]) {
        let content = self.contents[id.0 as usize];
        (
            content.size,
            &self.extents[content.first..content.first + content.count],
        )
    }

    /// The runs of all contents that `keep` does not name.
    pub(crate) fn runs_without<'a>(&'a self, keep: &'a [bool]) -> impl Iterator<Item = Run> + 'a {
        self.contents
            .iter()
            .zip(keep)
            .filter(|(_, kept)| !**kept)
            .flat_map(|(content, _)| {
                self.extents[content.first..content.first + content.count]
                    .iter()
                    .map(|extent| Run {
                        start: extent.start,
                        len: u64::from(extent.len),
                    })
            })
    }
}

fn grown(size: u64, by: u64) -> Result<u64, ImageError> {
    size.checked_add(by)
        .filter(|size| *size <= FILE_BYTES_MAX)
        .ok_or(ImageError::FileTooLarge)
}

/// Places whole blocks, the zero ones as holes.
fn place<S: Sink>(
    extents: &mut Vec<Extent>,
    first: usize,
    mut logical: u32,
    mut bytes: &[u8],
    allocator: &mut Allocator,
    output: &mut Output<S>,
) -> Result<(), ImageError> {
    while !bytes.is_empty() {
        let mut blocks = bytes.chunks_exact(BLOCK);
        let zeros = blocks.by_ref().take_while(|block| is_zero(block)).count();
        if zeros > 0 {
            logical += u32::try_from(zeros).expect("a size is below the limit");
            bytes = &bytes[zeros * BLOCK..];
            continue;
        }
        let full = bytes
            .chunks_exact(BLOCK)
            .take_while(|block| !is_zero(block))
            .count() as u64;
        let run = allocator.take_some(full.min(u64::from(EXTENT_BLOCKS_MAX)))?;
        let len = usize::try_from(run.len).expect("as long as a slice") * BLOCK;
        let (now, rest) = bytes.split_at(len);
        output.write_block(run.start, now)?;
        let blocks = u32::try_from(run.len).expect("at most an extent");
        match extents[first..].last_mut() {
            Some(last)
                if last.logical + last.len == logical
                    && last.start + u64::from(last.len) == run.start
                    && last.len + blocks <= EXTENT_BLOCKS_MAX =>
            {
                last.len += blocks;
            }
            _ => extents.push(Extent {
                logical,
                start: run.start,
                len: blocks,
            }),
        }
        logical += blocks;
        bytes = rest;
    }
    Ok(())
}

fn is_zero(block: &[u8]) -> bool {
    // The first bytes decide nearly always, before the whole block is looked at.
    block[..16] == ZEROS[..16] && block == ZEROS
}
