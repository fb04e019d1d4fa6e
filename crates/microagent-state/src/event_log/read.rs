//! Reading a history: its segments in order, line by line, in bounded memory. No lock is taken; a
//! segment that is closed under a reader's hands is still the file that it has open.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use microagent_os::{FsAction, FsError, fs};
use microagent_types::WorkspaceId;

use super::EventLogError;
use super::tail::read_end;
use crate::event_chain::{ChainReport, ChainVerifier};
use crate::event_record::{Event, LINE_BYTES_MAX};
use crate::paths::WorkspacePaths;

/// The longest line that is read whole; what is longer is damage and is read in pieces.
const READ_LINE_BYTES_MAX: u64 = 2 * LINE_BYTES_MAX as u64;
/// The most events that [`last_events`] keeps.
const LAST_EVENTS_MAX: usize = 10_000;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest line that is kept.
    Start,
    /// Behind this number.
    After(u64),
}

/// The closed segments, oldest first.
pub(super) fn segments(paths: &WorkspacePaths) -> Result<Vec<PathBuf>, FsError> {
    let mut numbered: Vec<(u64, PathBuf)> = fs::list(paths.folder())?
        .into_iter()
        .filter_map(|entry| {
            let first_seq = WorkspacePaths::segment_first_seq(entry.name.to_str()?)?;
            Some((first_seq, paths.folder().join(&entry.name)))
        })
        .collect();
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// The newest closed segment.
pub(super) fn last_segment(paths: &WorkspacePaths) -> Result<Option<PathBuf>, FsError> {
    Ok(segments(paths)?.pop())
}

/// The number of a file's first line, reckoned back from the first that can be read; `otherwise`
/// when none can.
pub(super) fn first_seq(path: &Path, otherwise: u64) -> Result<u64, EventLogError> {
    let mut before = 0;
    for line in LinesOfFile::open(path)? {
        match Event::from_line(&line?) {
            Ok(event) => return Ok(event.seq.saturating_sub(before).max(1)),
            Err(_) => before += 1,
        }
    }
    Ok(otherwise.saturating_sub(before).max(1))
}

/// The lines of one file that end in LF, without it; the rest is the tail.
pub(super) struct LinesOfFile {
    reader: BufReader<File>,
    path: PathBuf,
    tail: Vec<u8>,
}

impl LinesOfFile {
    pub(super) fn open(path: &Path) -> Result<Self, FsError> {
        let reader = BufReader::new(fs::open(path)?);
        Ok(Self {
            reader,
            path: path.to_owned(),
            tail: Vec::new(),
        })
    }
}

impl Iterator for LinesOfFile {
    type Item = Result<Vec<u8>, FsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(READ_LINE_BYTES_MAX);
        match limited.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                Some(Ok(line))
            }
            // Longer than any line of ours: a piece of damage.
            Ok(read) if read as u64 == READ_LINE_BYTES_MAX => Some(Ok(line)),
            Ok(_) => {
                self.tail = line;
                None
            }
            Err(source) => Some(Err(FsError {
                action: FsAction::Read,
                path: self.path.clone(),
                source,
            })),
        }
    }
}

/// The stored lines of a history, oldest first, without their LF.
pub struct EventLines {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<LinesOfFile>,
    after: u64,
    tail: Vec<u8>,
}

impl EventLines {
    pub(super) fn open(paths: &WorkspacePaths, from: ReadFrom) -> Result<Self, EventLogError> {
        let mut files = segments(paths)?;
        let after = match from {
            ReadFrom::Start => 0,
            ReadFrom::After(seq) => seq,
        };
        // A segment before the last that begins at or below the number holds nothing of interest.
        let first_of = |path: &PathBuf| {
            path.file_name()?
                .to_str()
                .and_then(WorkspacePaths::segment_first_seq)
        };
        let skip = files
            .iter()
            .rposition(|path| first_of(path).is_some_and(|first| first <= after))
            .unwrap_or(0);
        files.drain(..skip);
        if fs::is_present(&paths.events()) {
            files.push(paths.events());
        }
        Ok(Self {
            files: files.into_iter(),
            current: None,
            after,
            tail: Vec::new(),
        })
    }

    /// The bytes after the last LF, once all lines were read.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, FsError> {
        loop {
            if let Some(lines) = &mut self.current {
                if let Some(line) = lines.next() {
                    return line.map(Some);
                }
                self.tail = std::mem::take(&mut lines.tail);
                self.current = None;
            }
            let Some(path) = self.files.next() else {
                return Ok(None);
            };
            match LinesOfFile::open(&path) {
                Ok(lines) => self.current = Some(lines),
                // Pruned, or just being closed.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Iterator for EventLines {
    type Item = Result<Vec<u8>, EventLogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line() {
                Ok(None) => return None,
                Ok(Some(line)) => {
                    let wanted = self.after == 0
                        || Event::from_line(&line).map_or(true, |event| event.seq > self.after);
                    if wanted {
                        return Some(Ok(line));
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

pub(super) fn verify(
    paths: &WorkspacePaths,
    id: WorkspaceId,
) -> Result<ChainReport, EventLogError> {
    let mut verifier = ChainVerifier::new(id);
    let mut lines = EventLines::open(paths, ReadFrom::Start)?;
    for line in lines.by_ref() {
        verifier.line(&line?);
    }
    Ok(verifier.finish(lines.tail()))
}

pub(super) fn last_events(
    paths: &WorkspacePaths,
    count: usize,
) -> Result<Vec<Event>, EventLogError> {
    let count = count.min(LAST_EVENTS_MAX);
    // The last whole line tells how far back to begin, so a long history is not read whole.
    let after = match fs::open(&paths.events()) {
        Ok(file) => {
            let end = read_end(&file, &paths.events())?;
            let last = end
                .last
                .as_deref()
                .and_then(|line| Event::from_line(line).ok());
            last.map_or(0, |event| event.seq.saturating_sub(count as u64))
        }
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error.into()),
    };
    let mut events = std::collections::VecDeque::new();
    for line in EventLines::open(paths, ReadFrom::After(after))? {
        if let Ok(event) = Event::from_line(&line?) {
            if events.len() == count {
                events.pop_front();
            }
            if count > 0 {
                events.push_back(event);
            }
        }
    }
    Ok(events.into())
}
