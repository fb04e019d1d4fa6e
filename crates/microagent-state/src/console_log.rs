//! The console log: bytes as the guest wrote them, and an index that says when and in which boot.
//!
//! ```text
//! serial.log.1, serial.log    8 MiB each, nothing added
//! serial.idx.1, serial.idx    24 bytes a mark: position, Unix ms, boot, flags
//! ```
//!
//! A monitor writes them; a reader needs no monitor and may come at any moment, also in the middle of a
//! rotation. Lines are handed out one by one and never held together: a guest that prints line feeds
//! makes sixteen million of them. It must not decide what a line means or who may see it.

use std::fs::File;
use std::io;

use microagent_os::fs::{self, FileIdentity};
use microagent_os::{FsAction, FsError};
use microagent_types::Timestamp;

use crate::paths::{Rotation, WorkspacePaths};

/// Bytes of one mark in the index.
pub const MARK_BYTES: usize = 24;
/// A boot begins at this mark.
pub const MARK_BOOT: u32 = 1;
/// Bytes were lost before this mark.
pub const MARK_LOST: u32 = 2;
/// Longest line handed out in one piece; a longer one comes as several.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Most bytes of an index that are read: far more than 8 MiB of log can need marks.
const INDEX_BYTES_MAX: u64 = 64 << 20;
const READ_BYTES: usize = 64 << 10;

/// One record of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsoleMark {
    /// Where in the log.
    pub position: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// In which boot.
    pub boot: u32,
    /// [`MARK_BOOT`] and [`MARK_LOST`].
    pub flags: u32,
}

impl ConsoleMark {
    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&self.position.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.at_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.boot.to_le_bytes());
        bytes[20..].copy_from_slice(&self.flags.to_le_bytes());
        bytes
    }

    /// Reads one back.
    pub fn from_bytes(bytes: &[u8; MARK_BYTES]) -> Self {
        let (position, rest) = bytes.split_at(8);
        let (at_ms, rest) = rest.split_at(8);
        let (boot, flags) = rest.split_at(4);
        Self {
            position: u64::from_le_bytes(position.try_into().expect("8 bytes")),
            at_ms: u64::from_le_bytes(at_ms.try_into().expect("8 bytes")),
            boot: u32::from_le_bytes(boot.try_into().expect("4 bytes")),
            flags: u32::from_le_bytes(flags.try_into().expect("4 bytes")),
        }
    }
}

/// One line of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleLine<'a> {
    /// When its first byte came; none where the index does not say.
    pub time: Option<Timestamp>,
    /// In which boot.
    pub boot: u32,
    /// As captured, its line end included when it has one.
    pub bytes: &'a [u8],
}

impl<'a> ConsoleLine<'a> {
    /// The bytes without their line end.
    pub fn text(&self) -> &'a [u8] {
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes);
        text.strip_suffix(b"\r").unwrap_or(text)
    }
}

/// Reads the console from its oldest byte on, and goes on where it left off.
#[derive(Debug)]
pub struct ConsoleReader<'a> {
    paths: &'a WorkspacePaths,
    open: Option<OpenLog>,
    line: Vec<u8>,
    line_mark: ConsoleMark,
    was_cut: bool,
    begun: bool,
}

#[derive(Debug)]
struct OpenLog {
    log: File,
    index: File,
    identity: FileIdentity,
    position: u64,
    marks: Vec<ConsoleMark>,
    index_bytes: u64,
    /// The mark that holds at `position`.
    current: usize,
}

impl<'a> ConsoleReader<'a> {
    /// A reader that has read nothing.
    pub fn new(paths: &'a WorkspacePaths) -> Self {
        Self {
            paths,
            open: None,
            line: Vec::new(),
            line_mark: ConsoleMark::default(),
            was_cut: false,
            begun: false,
        }
    }

    /// Whether something older than the first line, or between two lines, is gone.
    pub fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// Hands out every line that has been completed since the last call, until `take` returns false.
    ///
    /// # Errors
    /// When a file is there and can't be read.
    pub fn read(&mut self, take: &mut dyn FnMut(ConsoleLine<'_>) -> bool) -> Result<(), FsError> {
        if !self.begun {
            self.begun = true;
            self.open = open(self.paths, Rotation::Previous)?;
            self.note_beginning();
        }
        loop {
            if let Some(open) = &mut self.open {
                open.read_marks(self.paths)?;
                if !self.drain(take)? {
                    return Ok(());
                }
            }
            // The one that is being read may have been set aside meanwhile, and was read to its end.
            let current = fs::identity_of_path(&self.paths.serial_log(Rotation::Current))?;
            let is_current = self.open.as_ref().map(|open| open.identity) == current;
            if current.is_none() || is_current {
                return Ok(());
            }
            // What was written between the last read and the renaming.
            if self.open.is_some() && !self.drain(take)? {
                return Ok(());
            }
            let was_none = self.open.is_none();
            match open(self.paths, Rotation::Current)? {
                Some(next) => self.open = Some(next),
                None => return Ok(()),
            }
            if was_none {
                self.note_beginning();
            }
        }
    }

    /// Hands out what has come of a line that has no end yet.
    pub fn finish(&mut self, take: &mut dyn FnMut(ConsoleLine<'_>) -> bool) {
        if !self.line.is_empty() {
            self.hand_out(take);
        }
    }

    /// A log that does not begin with a boot has lost its beginning.
    fn note_beginning(&mut self) {
        if let Some(open) = &self.open {
            let first = open.marks.first();
            self.was_cut |= first.is_some_and(|mark| mark.flags & MARK_BOOT == 0);
        }
    }

    /// Reads the open log to its end. False when `take` has had enough.
    fn drain(&mut self, take: &mut dyn FnMut(ConsoleLine<'_>) -> bool) -> Result<bool, FsError> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let Some(open) = &mut self.open else {
                return Ok(true);
            };
            let path = || self.paths.serial_log(Rotation::Current);
            let count = fs::read_at(&open.log, &mut buffer, open.position)
                .map_err(|error| FsError::new(FsAction::Read, &path(), error))?;
            if count == 0 {
                return Ok(true);
            }
            for &byte in &buffer[..count] {
                let Some(open) = &mut self.open else {
                    return Ok(true);
                };
                let mark = open.mark();
                self.was_cut |= mark.is_some_and(|mark| mark.flags & MARK_LOST != 0);
                let boots = mark.is_some_and(|mark| {
                    mark.flags & MARK_BOOT != 0 && mark.position == open.position
                });
                open.position += 1;
                // A boot begins a line of its own.
                if boots && !self.line.is_empty() && !self.hand_out(take) {
                    return Ok(false);
                }
                if self.line.is_empty() {
                    self.line_mark = mark.unwrap_or_default();
                }
                self.line.push(byte);
                let is_whole = byte == b'\n' || self.line.len() == LINE_BYTES_MAX;
                if is_whole && !self.hand_out(take) {
                    return Ok(false);
                }
            }
        }
    }

    fn hand_out(&mut self, take: &mut dyn FnMut(ConsoleLine<'_>) -> bool) -> bool {
        let mark = self.line_mark;
        let goes_on = take(ConsoleLine {
            time: (mark.at_ms > 0).then(|| Timestamp::from_unix_ms(mark.at_ms)),
            boot: mark.boot,
            bytes: &self.line,
        });
        self.line.clear();
        goes_on
    }
}

impl OpenLog {
    /// The last mark at or before the position.
    fn mark(&mut self) -> Option<ConsoleMark> {
        while self
            .marks
            .get(self.current + 1)
            .is_some_and(|next| next.position <= self.position)
        {
            self.current += 1;
        }
        self.marks
            .get(self.current)
            .filter(|mark| mark.position <= self.position)
            .copied()
    }

    /// Reads marks that were added.
    fn read_marks(&mut self, paths: &WorkspacePaths) -> Result<(), FsError> {
        let mut bytes = vec![0; READ_BYTES / MARK_BYTES * MARK_BYTES];
        while self.index_bytes < INDEX_BYTES_MAX {
            let count = read_full(&self.index, &mut bytes, self.index_bytes).map_err(|error| {
                FsError::new(
                    FsAction::Read,
                    &paths.serial_index(Rotation::Current),
                    error,
                )
            })?;
            // A torn mark is completed, or never: what it said is lost, not the log.
            let (whole, _) = bytes[..count].as_chunks::<MARK_BYTES>();
            self.marks.extend(whole.iter().map(ConsoleMark::from_bytes));
            self.index_bytes += (whole.len() * MARK_BYTES) as u64;
            if whole.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn read_full(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match fs::read_at(file, &mut buffer[filled..], position + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn open(paths: &WorkspacePaths, rotation: Rotation) -> Result<Option<OpenLog>, FsError> {
    let path = paths.serial_log(rotation);
    let present = |result: Result<File, FsError>| match result {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    };
    let Some(log) = present(fs::open(&path))? else {
        return Ok(None);
    };
    let Some(index) = present(fs::open(&paths.serial_index(rotation)))? else {
        return Ok(None);
    };
    let identity = fs::identity_of_file(&log, &path)?;
    let mut open = OpenLog {
        log,
        index,
        identity,
        position: 0,
        marks: Vec::new(),
        index_bytes: 0,
        current: 0,
    };
    open.read_marks(paths)?;
    Ok(Some(open))
}

#[cfg(test)]
mod tests;
