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

/// The most pieces that all contents together may lie in. A file is one, unless it has holes or is
/// longer than 128 MiB; more of them would fill the host's memory.
pub(crate) const EXTENTS_MAX: usize = 3 << 19;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The content that is open.
#[derive(Debug)]
struct Open {
    size: u64,
    first: usize,
    /// The beginning of the block that is not full yet.
    partial: usize,
}

/// All contents of an image: how long each is, and where its extents begin; they end where those of the
/// next one begin.
#[derive(Debug)]
pub(crate) struct ContentStore {
    sizes: Vec<u64>,
    firsts: Vec<u32>,
    extents: Vec<Extent>,
    open: Option<Open>,
    partial: Box<[u8; BLOCK]>,
}

impl ContentStore {
    pub(crate) fn new() -> Self {
        Self {
            sizes: Vec::new(),
            firsts: Vec::new(),
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
        let id = u32::try_from(self.sizes.len()).map_err(|_| ImageError::TooManyBlocks)?;
        self.sizes.push(open.size);
        self.firsts
            .push(u32::try_from(open.first).expect("extents are bounded"));
        Ok(ContentId(id))
    }

    /// How many contents there are.
    pub(crate) fn len(&self) -> usize {
        assert!(self.open.is_none(), "every content is closed");
        self.sizes.len()
    }

    /// Length and extents of a content.
    pub(crate) fn get(&self, id: ContentId) -> (u64, &[Extent]) {
        let at = id.0 as usize;
        (self.sizes[at], self.extents_of(at))
    }

    fn extents_of(&self, at: usize) -> &[Extent] {
        let first = self.firsts[at] as usize;
        let end = self.firsts.get(at + 1).map(|next| *next as usize);
        &self.extents[first..end.unwrap_or(self.extents.len())]
    }

    /// The runs of all contents that `keep` does not name, in order, neighbours joined.
    pub(crate) fn runs_without(&self, keep: &[bool]) -> Vec<Run> {
        // Blocks were handed out in the order of the contents, so these are in order already.
        let mut joined: Vec<Run> = Vec::new();
        let dropped = keep.iter().enumerate().filter(|(_, kept)| !**kept);
        for extent in dropped.flat_map(|(at, _)| self.extents_of(at)) {
            let run = extent.run();
            match joined.last_mut() {
                Some(last) if last.end() == run.start => last.len += run.len,
                _ => joined.push(run),
            }
        }
        joined
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
        let last = extents[first..].last_mut();
        if !last.is_some_and(|last| last.extend(logical, run)) {
            if extents.len() == EXTENTS_MAX {
                return Err(ImageError::TooManyPieces { limit: EXTENTS_MAX });
            }
            extents.push(Extent::new(logical, run));
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
