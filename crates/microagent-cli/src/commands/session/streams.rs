//! The guest command's three streams, and the terminal when it has one.
//!
//! Output is passed on as it comes, byte for byte and unbuffered; with `--json` it is kept up to a
//! limit. Nothing here looks into it.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use microagent_os::terminal::RawMode;
use microagent_types::ByteSize;
use microagent_workspace::Interrupt;
use microagent_workspace::guest_session::SessionSink;

use crate::detach_keys::{DetachKeys, DetachSearch};

/// Where the command's stdin comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Stdin {
    /// It reads end of file.
    EndOfFile,
    /// This process's stdin is passed on.
    Passed,
}

/// Output goes to this process's own streams.
pub(in crate::commands) struct Passage;

impl SessionSink for Passage {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Talk that nobody hears is no reason to end a command.
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(bytes);
        let _ = stderr.flush();
        Ok(())
    }
}

/// Output is kept for a document, each stream up to a limit.
#[derive(Debug)]
pub(in crate::commands) struct Capture {
    limit: usize,
    /// The first bytes of stdout.
    pub(in crate::commands) stdout: Vec<u8>,
    /// The first bytes of stderr.
    pub(in crate::commands) stderr: Vec<u8>,
}

impl Capture {
    /// Keeps at most `limit` of each stream.
    pub(in crate::commands) fn new(limit: ByteSize) -> Self {
        Self {
            limit: usize::try_from(limit.bytes()).unwrap_or(usize::MAX),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }
}

impl SessionSink for Capture {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        keep(&mut self.stdout, bytes, self.limit);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        keep(&mut self.stderr, bytes, self.limit);
        Ok(())
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let room = limit.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(&bytes[..room]);
}

/// What the library reads the command's stdin from.
pub(in crate::commands) fn stdin(
    stdin: Stdin,
    input: Option<&TerminalInput>,
) -> Option<Box<dyn Read + Send>> {
    match (stdin, input) {
        (Stdin::EndOfFile, _) => None,
        (Stdin::Passed, Some(input)) => Some(Box::new(input.clone())),
        (Stdin::Passed, None) => Some(Box::new(io::stdin())),
    }
}

/// What is typed at a terminal, in raw mode from the first read on.
///
/// The library reads only once the session is there, so until then Ctrl-C still is a signal that ends
/// the boot. Clones share the raw mode.
#[derive(Debug, Clone)]
pub(in crate::commands) struct TerminalInput {
    shared: Arc<Mutex<Raw>>,
    search: Arc<Mutex<DetachSearch>>,
    interrupt: Interrupt,
    /// Said when the session is there.
    greeting: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Raw {
    mode: Option<RawMode>,
    over: bool,
    detached: bool,
}

impl TerminalInput {
    /// The terminal behind stdin; nothing is changed yet.
    pub(in crate::commands) fn new(
        keys: DetachKeys,
        greeting: Option<&str>,
        interrupt: &Interrupt,
    ) -> Self {
        Self {
            greeting: greeting.map(Into::into),
            shared: Arc::default(),
            search: Arc::new(Mutex::new(DetachSearch::new(keys))),
            interrupt: interrupt.clone(),
        }
    }

    /// Whether the detach keys were typed.
    pub(in crate::commands) fn has_detached(&self) -> bool {
        self.raw().detached
    }

    /// Restores the terminal, for good: a read that comes later changes nothing any more.
    pub(in crate::commands) fn restore(&self) {
        let mut raw = self.raw();
        raw.over = true;
        raw.mode = None;
    }

    fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.raw();
        if !raw.over && raw.mode.is_none() {
            if let Some(greeting) = &self.greeting {
                crate::printer::talk(greeting);
            }
            raw.mode = Some(RawMode::enter()?);
        }
        Ok(())
    }

    fn raw(&self) -> MutexGuard<'_, Raw> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for TerminalInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.make_raw()?;
        loop {
            let count = io::stdin().read(buffer)?;
            let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
            let typed = search.take(&buffer[..count]);
            if typed.detached {
                self.raw().detached = true;
                self.interrupt.close_session();
                return Ok(0);
            }
            // A prefix that is given back may need more room than was read; it is at most a few
            // bytes, and the buffer of a session is large.
            let given = typed.bytes.len().min(buffer.len());
            buffer[..given].copy_from_slice(&typed.bytes[..given]);
            if given > 0 || count == 0 {
                return Ok(given);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Capture;
    use microagent_types::ByteSize;
    use microagent_workspace::guest_session::SessionSink as _;

    #[test]
    fn a_captured_stream_stops_at_its_limit_and_not_before() {
        let mut capture = Capture::new(ByteSize::from_bytes(4));
        capture.stdout(b"abc").unwrap();
        capture.stdout(b"def").unwrap();
        capture.stderr(b"xyz!").unwrap();
        assert_eq!(capture.stdout, b"abcd");
        assert_eq!(capture.stderr, b"xyz!");
    }
}
