//! The guest's console: always drained, kept in a log with a cap, shown to whoever watches.
//!
//! ```text
//! serial port ──┐                       ┌── serial.log (8 MiB, then serial.log.1)
//!               ├── ConsoleLog ─────────┼── serial.idx (when which bytes came)
//! kind 5 frames ┘                       └── attachers, who miss what they are too slow for
//! ```
//!
//! A guest that writes without end must neither fill the host nor ever wait for it, so a write that
//! fails is counted as lost and the next one goes on. The log holds the bytes as captured; times and
//! boots stand in the index, 24 bytes a record, so a reader never needs the monitor.

use microagent_os::{FsError, fs};
use microagent_state::console_log::{ConsoleMark, MARK_BOOT, MARK_LOST};
use microagent_types::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{broadcast, mpsc};

/// Bytes of one log file; two are kept.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// Output this much later than the last index record gets a record of its own.
const INDEX_STEP_MS: u64 = 100;
/// Lines kept in memory for errors.
pub(crate) const LAST_LINES_MAX: usize = 20;
/// Bytes kept of each of them.
const LAST_LINE_BYTES_MAX: usize = 1024;
/// Pieces that a slow attacher may lag behind.
const ATTACHER_PIECES_MAX: usize = 256;
/// Pieces of input that wait for a guest that does not read them.
pub(crate) const INPUT_PIECES_MAX: usize = 16;
const READ_BYTES: usize = 16 * 1024;

/// Where the two files of the console lie.
#[derive(Debug, Clone)]
pub(crate) struct ConsolePaths {
    /// `serial.log`.
    pub(crate) log: PathBuf,
    /// `serial.idx`.
    pub(crate) index: PathBuf,
}

/// The log of one boot's console.
pub(crate) struct ConsoleLog {
    paths: ConsolePaths,
    log_bytes_max: u64,
    log: File,
    index: File,
    position: u64,
    boot: u32,
    marked_at_ms: u64,
    lost: bool,
    last_lines: LastLines,
    pieces: broadcast::Sender<Rc<[u8]>>,
}

impl ConsoleLog {
    /// Opens the log for a boot and marks in the index that it begins.
    pub(crate) fn open(paths: ConsolePaths, boot: u32, now: Timestamp) -> Result<Self, FsError> {
        Self::open_with_limit(paths, boot, now, LOG_BYTES_MAX)
    }

    fn open_with_limit(
        paths: ConsolePaths,
        boot: u32,
        now: Timestamp,
        log_bytes_max: u64,
    ) -> Result<Self, FsError> {
        let log = fs::open_append(&paths.log)?;
        let index = fs::open_append(&paths.index)?;
        let position = fs::metadata(&paths.log)?.len();
        let mut console = Self {
            paths,
            log_bytes_max,
            log,
            index,
            position,
            boot,
            marked_at_ms: 0,
            lost: false,
            last_lines: LastLines::default(),
            pieces: broadcast::Sender::new(ATTACHER_PIECES_MAX),
        };
        console.mark(now.unix_ms(), MARK_BOOT);
        Ok(console)
    }

    /// Takes output of the guest.
    pub(crate) fn append(&mut self, bytes: &[u8], now: Timestamp) {
        self.last_lines.append(bytes);
        // Without attachers there is nobody to send to, which is the usual case.
        let _ = self.pieces.send(bytes.into());
        let now_ms = now.unix_ms();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.position >= self.log_bytes_max && !self.rotate(now_ms) {
                self.lost = true;
                return;
            }
            let room = usize::try_from(self.log_bytes_max - self.position).unwrap_or(usize::MAX);
            let (piece, tail) = rest.split_at(rest.len().min(room));
            if self.lost || now_ms >= self.marked_at_ms.saturating_add(INDEX_STEP_MS) {
                self.mark(now_ms, 0);
            }
            match self.log.write_all(piece) {
                Ok(()) => self.position += piece.len() as u64,
                Err(error) => {
                    if !self.lost {
                        tracing::warn!(%error, "console output is lost");
                    }
                    self.lost = true;
                    // A short write may have taken some of it.
                    self.position =
                        fs::metadata(&self.paths.log).map_or(self.position, |found| found.len());
                    return;
                }
            }
            rest = tail;
        }
    }

    /// The last lines, oldest first.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.last_lines.lines()
    }

    /// What comes from now on. A receiver that is too slow misses pieces.
    pub(crate) fn attach(&self) -> broadcast::Receiver<Rc<[u8]>> {
        self.pieces.subscribe()
    }

    fn mark(&mut self, now_ms: u64, flags: u32) {
        let flags = flags | if self.lost { MARK_LOST } else { 0 };
        let mark = ConsoleMark {
            position: self.position,
            at_ms: now_ms,
            boot: self.boot,
            flags,
        };
        match self.index.write_all(&mark.to_bytes()) {
            Ok(()) => {
                self.marked_at_ms = now_ms;
                self.lost = false;
            }
            Err(error) => tracing::warn!(%error, "the console index was not written"),
        }
    }

    fn rotate(&mut self, now_ms: u64) -> bool {
        let rotated = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".1");
            PathBuf::from(name)
        };
        let renewed = fs::rename(&self.paths.log, &rotated(&self.paths.log))
            .and_then(|()| fs::rename(&self.paths.index, &rotated(&self.paths.index)))
            .and_then(|()| fs::open_append(&self.paths.log))
            .and_then(|log| Ok((log, fs::open_append(&self.paths.index)?)));
        match renewed {
            Ok((log, index)) => {
                self.log = log;
                self.index = index;
                self.position = 0;
                self.mark(now_ms, 0);
                true
            }
            Err(error) => {
                if !self.lost {
                    tracing::warn!(%error, "the console log was not rotated");
                }
                false
            }
        }
    }
}

/// The last complete lines and what has been written of the next.
#[derive(Default)]
struct LastLines {
    lines: VecDeque<String>,
    open: Vec<u8>,
}

impl LastLines {
    fn append(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = printable(&self.open);
                    self.open.clear();
                    if self.lines.len() == LAST_LINES_MAX {
                        self.lines.pop_front();
                    }
                    self.lines.push_back(line);
                }
                b'\r' => {}
                _ if self.open.len() < LAST_LINE_BYTES_MAX => self.open.push(byte),
                _ => {}
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().cloned().collect();
        if !self.open.is_empty() {
            lines.push(printable(&self.open));
        }
        let excess = lines.len().saturating_sub(LAST_LINES_MAX);
        lines.split_off(excess)
    }
}

/// Text of a guest, safe for a terminal: control characters become a question mark.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|char| {
            if char.is_control() && char != '\t' {
                '?'
            } else {
                char
            }
        })
        .collect()
}

/// A console that several tasks of one thread use.
pub(crate) type SharedConsole = Rc<RefCell<ConsoleLog>>;

/// Drains the serial port until it ends.
pub(crate) async fn drain(mut output: Box<dyn AsyncRead + Unpin>, console: SharedConsole) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match output.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => console
                .borrow_mut()
                .append(&buffer[..read], microagent_os::clock::now()),
        }
    }
}

/// Writes what attachers type to the serial port, until it takes no more.
pub(crate) async fn type_into(
    mut input: Box<dyn AsyncWrite + Unpin>,
    mut pieces: mpsc::Receiver<Vec<u8>>,
) {
    while let Some(piece) = pieces.recv().await {
        if input.write_all(&piece).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the files itself")]
    use super::{ConsoleLog, ConsolePaths, LAST_LINES_MAX, MARK_BOOT};
    use microagent_types::Timestamp;

    fn paths(folder: &std::path::Path) -> ConsolePaths {
        ConsolePaths {
            log: folder.join("serial.log"),
            index: folder.join("serial.idx"),
        }
    }

    fn records(path: &std::path::Path) -> Vec<(u64, u64, u32, u32)> {
        std::fs::read(path)
            .unwrap()
            .chunks(24)
            .map(|record| {
                (
                    u64::from_le_bytes(record[..8].try_into().unwrap()),
                    u64::from_le_bytes(record[8..16].try_into().unwrap()),
                    u32::from_le_bytes(record[16..20].try_into().unwrap()),
                    u32::from_le_bytes(record[20..].try_into().unwrap()),
                )
            })
            .collect()
    }

    #[test]
    fn bytes_are_kept_as_they_came_and_the_index_says_when() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let at = Timestamp::from_unix_ms;
        let mut console = ConsoleLog::open(paths.clone(), 3, at(1000)).unwrap();
        console.append(b"one\r\n", at(1010));
        console.append(b"tw\x1bo", at(1200));
        assert_eq!(std::fs::read(&paths.log).unwrap(), b"one\r\ntw\x1bo");
        assert_eq!(
            records(&paths.index),
            [(0, 1000, 3, MARK_BOOT), (5, 1200, 3, 0)]
        );
        assert_eq!(console.last_lines(), ["one", "tw?o"]);
        drop(console);
        let _ = ConsoleLog::open(paths.clone(), 4, at(5000)).unwrap();
        assert_eq!(records(&paths.index)[2], (9, 5000, 4, MARK_BOOT));
    }

    #[test]
    fn the_older_half_goes_when_the_log_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let at = Timestamp::from_unix_ms;
        let mut console = ConsoleLog::open_with_limit(paths.clone(), 1, at(0), 10).unwrap();
        console.append(&[b'a'; 25], at(1));
        console.append(&[b'b'; 3], at(2));
        assert_eq!(std::fs::read(&paths.log).unwrap(), b"aaaaabbb");
        let older = std::fs::read(folder.path().join("serial.log.1")).unwrap();
        assert_eq!(older, b"aaaaaaaaaa");
        assert_eq!(records(&paths.index)[0].0, 0);
    }

    #[test]
    fn only_the_last_lines_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_unix_ms;
        let mut console = ConsoleLog::open(paths(folder.path()), 1, at(0)).unwrap();
        for number in 0..100 {
            console.append(format!("{number}\n").as_bytes(), at(0));
        }
        console.append(&vec![b'x'; 1 << 20], at(0));
        let lines = console.last_lines();
        assert_eq!(lines.len(), LAST_LINES_MAX);
        assert_eq!(lines[LAST_LINES_MAX - 2], "99");
        assert!(lines[LAST_LINES_MAX - 1].len() <= 1024);
    }
}
