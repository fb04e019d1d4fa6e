//! Hands out blocks in one direction, and remembers what was given back.
//!
//! One cursor moves from the head of the image to its end, so the order of asking is the order on
//! disk. It jumps over the places where copies of the superblock belong. What was given back stays
//! free: using it again would make the layout depend on more than the order of asking.

use crate::{
    image::ImageError,
    size::{BLOCK_BYTES, GROUP_BLOCKS, IMAGE_BYTES_MAX, has_copy},
};

/// Blocks side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Run {
    pub(crate) fn end(self) -> u64 {
        self.start + self.len
    }
}

/// The cursor and the free runs behind it.
#[derive(Debug, Clone)]
pub(crate) struct Allocator {
    cursor: u64,
    head_blocks: u64,
    free: Vec<Run>,
}

impl Allocator {
    /// Starts behind the head of the first group.
    pub(crate) fn new(head_blocks: u64) -> Self {
        Self {
            cursor: head_blocks,
            head_blocks,
            free: Vec::new(),
        }
    }

    /// The first block that was not handed out; nothing beyond it is in use but heads.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Blocks up to the cursor that are in use, heads included.
    pub(crate) fn used(&self) -> u64 {
        self.cursor - self.free.iter().map(|run| run.len).sum::<u64>()
    }

    /// One to `wanted` blocks, as many as lie side by side.
    pub(crate) fn take_some(&mut self, wanted: u64) -> Result<Run, ImageError> {
        self.skip_head();
        let len = wanted.min(self.room());
        self.advance(len)
    }

    /// Exactly `wanted` blocks side by side, at most a group without its head.
    pub(crate) fn take_together(&mut self, wanted: u64) -> Result<Run, ImageError> {
        assert!(
            wanted <= GROUP_BLOCKS - self.head_blocks,
            "tables are smaller than a group"
        );
        self.skip_head();
        let room = self.room();
        if room < wanted {
            let left = self.advance(room)?;
            self.free.push(left);
            self.skip_head();
        }
        self.advance(wanted)
    }

    /// Gives a run back.
    pub(crate) fn give_back(&mut self, run: Run) {
        self.free.push(run);
    }

    /// What was given back, in order, neighbours joined.
    pub(crate) fn free_runs(&self) -> Vec<Run> {
        let mut sorted = self.free.clone();
        sorted.sort_unstable();
        let mut joined: Vec<Run> = Vec::with_capacity(sorted.len());
        for run in sorted {
            match joined.last_mut() {
                Some(last) if last.end() == run.start => last.len += run.len,
                _ => joined.push(run),
            }
        }
        joined
    }

    fn skip_head(&mut self) {
        if self.cursor.is_multiple_of(GROUP_BLOCKS) && has_copy(self.cursor / GROUP_BLOCKS) {
            self.cursor += self.head_blocks;
        }
    }

    /// Blocks up to the next head.
    fn room(&self) -> u64 {
        let mut group = self.cursor / GROUP_BLOCKS + 1;
        // Copies thin out; looking a little way ahead is enough to make long runs.
        while !has_copy(group) && group < self.cursor / GROUP_BLOCKS + 4 {
            group += 1;
        }
        group * GROUP_BLOCKS - self.cursor
    }

    fn advance(&mut self, len: u64) -> Result<Run, ImageError> {
        let run = Run {
            start: self.cursor,
            len,
        };
        if run.end() > IMAGE_BYTES_MAX / BLOCK_BYTES {
            return Err(ImageError::TooManyBlocks);
        }
        self.cursor = run.end();
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_before_a_copy_and_go_on_behind_it() {
        let mut allocator = Allocator::new(257);
        assert_eq!(
            allocator.take_some(u64::MAX).unwrap(),
            Run {
                start: 257,
                len: 32_511
            }
        );
        assert_eq!(
            allocator.take_some(10).unwrap(),
            Run {
                start: 32_768 + 257,
                len: 10
            }
        );
        // Group 2 has no copy, group 3 has one.
        let long = allocator.take_some(u64::MAX).unwrap();
        assert_eq!(long.end(), 3 * GROUP_BLOCKS);
    }

    #[test]
    fn what_must_stay_together_jumps_and_leaves_free_blocks() {
        let mut allocator = Allocator::new(257);
        allocator.take_some(32_500).unwrap();
        let table = allocator.take_together(512).unwrap();
        assert_eq!(
            table,
            Run {
                start: 32_768 + 257,
                len: 512
            }
        );
        assert_eq!(
            allocator.free_runs(),
            [Run {
                start: 32_757,
                len: 11
            }]
        );
        assert_eq!(allocator.used(), allocator.cursor() - 11);
    }

    #[test]
    fn neighbours_that_come_back_are_joined() {
        let mut allocator = Allocator::new(257);
        let a = allocator.take_some(5).unwrap();
        let b = allocator.take_some(6).unwrap();
        allocator.give_back(b);
        allocator.give_back(a);
        assert_eq!(
            allocator.free_runs(),
            [Run {
                start: 257,
                len: 11
            }]
        );
    }
}
