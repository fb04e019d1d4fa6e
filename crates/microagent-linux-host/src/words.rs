//! What a VMM or a helper says for people: line by line to the log, and its last lines kept, since they hold
//! the reason of a failed start.
//!
//! A guest can make its VMM complain, as often as it likes. So a line, what is kept of them and what goes to
//! the log in one boot are bounded, and the source is drained all the same: a full pipe would stall the
//! program.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// Lines that are kept of what a program said.
pub(crate) const LAST_LINES_MAX: usize = 20;
/// Bytes of a line; the rest of a longer one is dropped.
pub(crate) const LINE_BYTES_MAX: usize = 1024;
/// Bytes of a program's words that go to the log in one boot: a guest can have its VMM complain without end.
pub(crate) const LOGGED_BYTES_MAX: usize = 256 * 1024;
/// How long is waited for the last words of a program that has ended.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 4096;

/// Reads a program's words from now on; gives what is kept of them.
pub(crate) fn listen(name: &'static str, log: impl AsyncRead + Unpin + 'static) -> LastLines {
    let (end, ended) = watch::channel(false);
    let last_lines = LastLines {
        lines: Rc::default(),
        ended,
    };
    let kept = last_lines.clone();
    tokio::task::spawn_local(async move {
        drain(name, log, kept).await;
        // Nobody may wait for it.
        let _ = end.send(true);
    });
    last_lines
}

/// What a program said last, for the reason of a failure.
#[derive(Debug, Clone)]
pub struct LastLines {
    lines: Rc<RefCell<VecDeque<String>>>,
    ended: watch::Receiver<bool>,
}

impl LastLines {
    /// The lines so far, oldest first.
    pub fn get(&self) -> Vec<String> {
        self.lines.borrow().iter().cloned().collect()
    }

    /// The lines once the program can say nothing more, or after a bounded wait for that.
    pub async fn at_the_end(&self) -> Vec<String> {
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(LAST_WORDS_LIMIT, ended.wait_for(|ended| *ended)).await;
        self.get()
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() == LAST_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Reads until the end. What it reads goes to the log and to the last lines.
pub(crate) async fn drain(name: &'static str, mut log: impl AsyncRead + Unpin, last: LastLines) {
    let mut splitter = LineSplitter::default();
    let mut allowance = Allowance::new(LOGGED_BYTES_MAX);
    let mut chunk = [0u8; CHUNK_BYTES];
    loop {
        let read = match log.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for line in splitter.push(&chunk[..read]) {
            keep(name, line, &mut allowance, &last);
        }
    }
    if let Some(line) = splitter.end() {
        keep(name, line, &mut allowance, &last);
    }
}

/// Logs a line while the program may, and remembers it in any case.
fn keep(name: &'static str, line: String, allowance: &mut Allowance, last: &LastLines) {
    match allowance.take(line.len()) {
        Taken::Granted => tracing::info!(program = name, "{line}"),
        Taken::Last => tracing::warn!(
            program = name,
            "it has said more than {LOGGED_BYTES_MAX} bytes; the rest is left out"
        ),
        Taken::Refused => {}
    }
    last.push(line);
}

/// What a program may still put into the log.
#[derive(Debug)]
struct Allowance {
    bytes: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Granted,
    /// The first one that is too much, which is the moment to say so.
    Last,
    Refused,
}

impl Allowance {
    fn new(bytes: usize) -> Self {
        Self { bytes: Some(bytes) }
    }

    fn take(&mut self, bytes: usize) -> Taken {
        let Some(left) = self.bytes else {
            return Taken::Refused;
        };
        self.bytes = left.checked_sub(bytes);
        if self.bytes.is_some() {
            Taken::Granted
        } else {
            Taken::Last
        }
    }
}

/// Cuts bytes into lines of bounded length, as text that is safe to show.
#[derive(Debug, Default)]
struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                lines.extend(self.end());
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(*byte);
            }
        }
        lines
    }

    /// The line so far; none when it is empty.
    fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text: String = String::from_utf8_lossy(&line)
            .trim_end()
            .chars()
            .map(|character| {
                if character.is_control() {
                    ' '
                } else {
                    character
                }
            })
            .collect();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_never_stops_talking_fills_no_log() {
        let mut allowance = Allowance::new(10);
        let taken: Vec<Taken> = [4, 6, 1, 1, 0].map(|bytes| allowance.take(bytes)).into();
        assert_eq!(
            taken,
            [
                Taken::Granted,
                Taken::Granted,
                Taken::Last,
                Taken::Refused,
                Taken::Refused
            ]
        );
    }

    #[test]
    fn lines_are_cut_bounded_and_made_safe() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"one\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o\x1b[0m\r\n\n"), ["two [0m"]);
        splitter.push(&[b'x'; 3 * LINE_BYTES_MAX]);
        assert_eq!(splitter.end().unwrap().len(), LINE_BYTES_MAX);
        assert_eq!(splitter.end(), None);
    }
}
