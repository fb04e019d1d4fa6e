//! `events.jsonl` on disk: appending, the repair of a torn tail, rotation, pruning, reading.
//!
//! ```text
//! append:  events.lock -> tail checked -> [rotated] -> one write -> synced, or left to the batch
//! ```
//!
//! Any process may append, so nothing is remembered between two appends that another could have
//! changed: the tail is read anew under the lock. A torn tail is kept aside and never dropped;
//! damage elsewhere is never repaired, only stepped over and named.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use microagent_os::lock::{LockError, LockFile, LockMode};
use microagent_os::{FsAction, FsError, atomic_file, clock, crash_point, fs};
use microagent_types::WorkspaceId;

use crate::event_chain::{ChainHead, ChainReport, Tail, judge_tail, line_hash};
use crate::event_record::{Event, EventType, NewEvent};
use crate::paths::WorkspacePaths;

mod prune;
mod read;
mod tail;

pub use read::{EventLines, ReadFrom};

use tail::{End, read_end};

/// How long an append waits for another.
const APPEND_PATIENCE: Duration = Duration::from_secs(5);
/// Torn tails of one workspace.
const TORN_MAX: u32 = 10_000;

/// The bounds of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// A segment is closed before a line would make it longer.
    pub segment_bytes_max: u64,
    /// Closed segments that are kept.
    pub segments_max: usize,
}

impl LogLimits {
    /// The published bounds.
    pub const PUBLISHED: Self = Self {
        segment_bytes_max: 64 * 1024 * 1024,
        segments_max: 16,
    };
}

/// Why an event was not recorded, or a history not read.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// Another append held the lock for too long.
    #[error("the lock of the history is held")]
    Lock(#[from] LockError),
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A line or a torn tail is longer than any that we write.
    #[error("history `{}` has a tail of more than {limit_bytes} bytes", path.display())]
    TailTooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
}

impl EventLogError {
    /// True when the file system has no room.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Fs(error) => error.is_out_of_space(),
            Self::Lock(LockError::Fs(error)) => error.is_out_of_space(),
            Self::Lock(_) | Self::TailTooLong { .. } => false,
        }
    }
}

/// Whether the events that were appended are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As the type of event says: most are synced before this returns.
    ByType,
    /// Synced before this returns.
    Now,
}

/// The history of one workspace.
#[derive(Debug, Clone)]
pub struct EventLog {
    paths: WorkspacePaths,
    id: WorkspaceId,
    limits: LogLimits,
}

impl EventLog {
    /// The history of a workspace. Touches nothing.
    pub fn new(paths: &WorkspacePaths, id: WorkspaceId) -> Self {
        Self::with_limits(paths, id, LogLimits::PUBLISHED)
    }

    /// As [`EventLog::new`], with other bounds.
    pub fn with_limits(paths: &WorkspacePaths, id: WorkspaceId, limits: LogLimits) -> Self {
        Self {
            paths: paths.clone(),
            id,
            limits,
        }
    }

    /// Appends an event and returns it as it was recorded.
    ///
    /// After an error the history is as it was before, but for a repair that was due.
    pub fn append(&self, new: NewEvent, durability: Durability) -> Result<Event, EventLogError> {
        let _lock = self.lock()?;
        let mut writer = self.open_at_end()?;
        let wait = durability == Durability::ByType && new.kind.may_wait_for_sync();
        let event = writer.append(new)?;
        writer.close_and_prune_if_due()?;
        if !wait {
            writer.sync()?;
        }
        Ok(event)
    }

    /// Makes durable what was appended without a sync.
    pub fn sync(&self) -> Result<(), EventLogError> {
        let path = self.paths.events();
        match fs::open_read_write(&path) {
            Ok(file) => Ok(sync_data(&file, &path)?),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Repairs a torn tail now, in place of at the next append.
    pub fn repair(&self) -> Result<(), EventLogError> {
        let _lock = self.lock()?;
        self.open_at_end()?.sync()
    }

    /// Verifies what is kept.
    pub fn verify(&self) -> Result<ChainReport, EventLogError> {
        read::verify(&self.paths, self.id)
    }

    /// Reads the stored lines, oldest first.
    pub fn lines(&self, from: ReadFrom) -> Result<EventLines, EventLogError> {
        EventLines::open(&self.paths, from)
    }

    /// The last events, oldest of them first. Lines that are no events are left out.
    pub fn last(&self, count: usize) -> Result<Vec<Event>, EventLogError> {
        read::last_events(&self.paths, count)
    }

    fn lock(&self) -> Result<LockFile, LockError> {
        LockFile::acquire(
            &self.paths.events_lock(),
            LockMode::Exclusive,
            APPEND_PATIENCE,
        )
    }

    /// Opens the history behind its last line, after whatever repair is due.
    fn open_at_end(&self) -> Result<Writer<'_>, EventLogError> {
        let path = self.paths.events();
        let file = fs::open_append(&path)?;
        let end = read_end(&file, &path)?;
        let mut writer = Writer {
            log: self,
            file,
            length: end.length,
            head: self.head_of(&end)?,
        };
        match end.last {
            _ if end.tail.is_empty() && end.last_is_readable() => {}
            _ if end.last_is_readable() => writer.repair_tail(&end)?,
            // A whole line that is no event is damage; the file is closed as it is.
            _ => writer.close_damaged(&end)?,
        }
        Ok(writer)
    }

    /// Where the line after the last whole one goes.
    fn head_of(&self, end: &End) -> Result<ChainHead, EventLogError> {
        if let Some(line) = &end.last {
            return Ok(match Event::from_line(line) {
                Ok(event) => ChainHead::after(line, &event),
                Err(_) => self.head_after_damage(line)?,
            });
        }
        // An empty file: a new history, or one whose segment was just closed.
        match read::last_segment(&self.paths)? {
            None => Ok(ChainHead::genesis(self.id)),
            Some(segment) => {
                let file = fs::open(&segment)?;
                let end = read_end(&file, &segment)?;
                match &end.last {
                    None => Ok(ChainHead::genesis(self.id)),
                    Some(line) => Ok(match Event::from_line(line) {
                        Ok(event) => ChainHead::after(line, &event),
                        Err(_) => self.head_after_damage(line)?,
                    }),
                }
            }
        }
    }

    /// The head after an unreadable last line: its number is reckoned from the last that can be
    /// read.
    fn head_after_damage(&self, last_line: &[u8]) -> Result<ChainHead, EventLogError> {
        let mut next_seq = 1;
        for line in self.lines(ReadFrom::Start)? {
            next_seq = match Event::from_line(&line?) {
                Ok(event) => event.seq + 1,
                Err(_) => next_seq + 1,
            };
        }
        Ok(ChainHead {
            next_seq,
            prev: line_hash(last_line),
        })
    }
}

/// The open history, under its lock.
struct Writer<'a> {
    log: &'a EventLog,
    file: File,
    length: u64,
    head: ChainHead,
}

impl Writer<'_> {
    fn append(&mut self, new: NewEvent) -> Result<Event, EventLogError> {
        let event = new.at(self.head.next_seq, clock::now(), self.head.prev);
        let line = event.to_line();
        if self.length > 0
            && self.length + line.len() as u64 + 1 > self.log.limits.segment_bytes_max
        {
            self.close_segment()?;
        }
        self.write_line(&line)?;
        // What was cut from a line that was too long is cut from the answer too.
        let event = Event::from_line(&line).unwrap_or(event);
        self.head = ChainHead::after(&line, &event);
        Ok(event)
    }

    fn write_line(&mut self, line: &[u8]) -> Result<(), FsError> {
        let path = self.log.paths.events();
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        crash_point::pass("event.begin");
        self.write_bytes(&bytes, &path)?;
        crash_point::pass("event.written");
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// One write; a short one is taken back.
    #[cfg(not(feature = "crash-points"))]
    fn write_bytes(&mut self, bytes: &[u8], path: &std::path::Path) -> Result<(), FsError> {
        self.write_or_take_back(bytes, path)
    }

    /// The same in two halves, so that a test can end the process between them.
    #[cfg(feature = "crash-points")]
    fn write_bytes(&mut self, bytes: &[u8], path: &std::path::Path) -> Result<(), FsError> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.write_or_take_back(first, path)?;
        crash_point::pass("event.half_written");
        self.write_or_take_back(second, path)
    }

    fn write_or_take_back(&mut self, bytes: &[u8], path: &std::path::Path) -> Result<(), FsError> {
        let written = match crash_point::room("event") {
            Ok(()) => self.file.write(bytes),
            // As a disk that becomes full: a part is there.
            Err(_) => self.file.write(&bytes[..bytes.len() / 2]),
        };
        let error = match written {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => std::io::Error::from(std::io::ErrorKind::StorageFull),
            Err(error) => error,
        };
        // If this fails too, a torn tail is left, which the next append repairs.
        let _ = self.file.set_len(self.length);
        Err(FsError {
            action: FsAction::Write,
            path: path.to_owned(),
            source: error,
        })
    }

    fn sync(&self) -> Result<(), EventLogError> {
        sync_data(&self.file, &self.log.paths.events())?;
        crash_point::pass("event.synced");
        Ok(())
    }

    /// Mends the end of a write that a crash cut.
    fn repair_tail(&mut self, end: &End) -> Result<(), EventLogError> {
        match judge_tail(&end.tail, self.head) {
            Tail::None => Ok(()),
            Tail::Complete(event) => {
                let path = self.log.paths.events();
                self.write_or_take_back(b"\n", &path)?;
                self.length += 1;
                self.head = ChainHead::after(&end.tail, &event);
                self.sync()
            }
            Tail::Torn => self.keep_torn_tail_aside(end),
        }
    }

    fn keep_torn_tail_aside(&mut self, end: &End) -> Result<(), EventLogError> {
        let path = self.log.paths.events();
        let aside = self.first_free_torn(&end.tail)?;
        crash_point::pass("repair.kept_aside");
        let whole = self.length - end.tail.len() as u64;
        fs::set_length(&self.file, &path, whole)?;
        self.length = whole;
        self.sync()?;
        crash_point::pass("repair.truncated");
        let name = aside
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let repaired = NewEvent::new(EventType::LogRepaired)
            .with("bytes", end.tail.len() as u64)
            .with("sha256", line_hash(&end.tail).to_string())
            .with("file", name);
        self.append(repaired)?;
        self.sync()
    }

    /// Writes the torn bytes to the first free name. A crash after it and before the truncation
    /// left the same bytes there already; they are not kept twice.
    fn first_free_torn(&self, tail: &[u8]) -> Result<PathBuf, EventLogError> {
        for number in 1..TORN_MAX {
            let aside = self.log.paths.events_torn(number);
            match atomic_file::write(&aside, tail, atomic_file::Existing::Keep) {
                Ok(()) => return Ok(aside),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    let limit = tail.len() as u64;
                    if fs::read_bounded(&aside, limit).is_ok_and(|kept| kept == tail) {
                        return Ok(aside);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let path = self.log.paths.events();
        Err(EventLogError::TailTooLong {
            path,
            limit_bytes: u64::from(TORN_MAX),
        })
    }

    /// Closes a segment whose last whole line is no event, as it is, and begins the next one with
    /// that fact.
    fn close_damaged(&mut self, end: &End) -> Result<(), EventLogError> {
        let tail = end.tail.clone();
        self.close_segment()?;
        let damaged = NewEvent::new(EventType::HistoryDamaged)
            .with("sha256", self.head.prev.to_string())
            .with("tailBytes", tail.len() as u64);
        self.append(damaged)?;
        self.sync()
    }

    /// Renames the file to its closed name and opens a new one.
    fn close_segment(&mut self) -> Result<(), EventLogError> {
        let paths = &self.log.paths;
        self.sync()?;
        let first_seq = read::first_seq(&paths.events(), self.head.next_seq)?;
        let mut closed = paths.events_segment(first_seq);
        // A damaged history may have two segments that claim one number.
        let mut free = first_seq;
        while fs::is_present(&closed) {
            free += 1;
            closed = paths.events_segment(free);
        }
        fs::rename_new(&paths.events(), &closed)?;
        crash_point::pass("rotate.renamed");
        fs::sync_folder(paths.folder())?;
        self.file = fs::open_append(&paths.events())?;
        self.length = 0;
        fs::sync_folder(paths.folder())?;
        crash_point::pass("rotate.opened");
        Ok(())
    }

    /// Removes the oldest segments when there are too many, each after a line that says what it
    /// held.
    fn close_and_prune_if_due(&mut self) -> Result<(), EventLogError> {
        loop {
            let segments = read::segments(&self.log.paths)?;
            if segments.len() <= self.log.limits.segments_max {
                return Ok(());
            }
            let oldest = &segments[0];
            self.append(prune::summary(oldest)?)?;
            self.sync()?;
            crash_point::pass("prune.recorded");
            fs::remove_file(oldest)?;
            fs::sync_folder(self.log.paths.folder())?;
            crash_point::pass("prune.removed");
        }
    }
}

fn sync_data(file: &File, path: &std::path::Path) -> Result<(), FsError> {
    file.sync_data().map_err(|source| FsError {
        action: FsAction::Sync,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
