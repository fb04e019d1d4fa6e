//! One question to a program and its whole answer: bytes in, two streams out, all bounded.
//!
//! Written by hand it deadlocks (a full pipe on each side), fills the memory (an answer without
//! end) or hangs (a child that never ends). Here stdin is fed and both streams are drained at once,
//! each has a limit, and the deadline ends the child.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(unix)]
use super::talk_unix as platform_talk;
#[cfg(windows)]
use super::talk_windows as platform_talk;
use super::{Exit, ProcessIdentity, Spawn, SpawnError, Stream};
use crate::clock::Deadline;

/// The time that a killed child gets to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// The time that streams get to end after the child has, since a grandchild may hold them.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The limits of a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Conversation {
    /// Until the child must have ended.
    pub limit: Duration,
    /// Bytes kept of stdout; what comes beyond is counted and dropped.
    pub stdout_bytes_max: usize,
    /// Bytes kept of stderr: the last ones, since the reason of a failure comes last.
    pub stderr_bytes_max: usize,
}

/// What the program answered.
#[derive(Debug)]
pub struct Reply {
    /// How it ended.
    pub exit: Exit,
    /// The first bytes of stdout.
    pub stdout: Vec<u8>,
    /// All bytes that stdout carried.
    pub stdout_bytes: u64,
    /// The last bytes of stderr.
    pub stderr: Vec<u8>,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// It did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It was ended at the deadline.
    #[error("`{}` did not end within {} ms and was killed", program.display(), limit.as_millis())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long was waited.
        limit: Duration,
        /// The last bytes of its stderr.
        stderr: Vec<u8>,
    },
    /// Its pipes or its end could not be read.
    #[error("cannot talk to `{}`", program.display())]
    Talk {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Conversation {
    /// Starts the program, writes `input` to its stdin, closes it, and waits for its end. A
    /// program that does not read its input is no error.
    pub fn hold(self, spawn: Spawn, input: Vec<u8>) -> Result<Reply, ConversationError> {
        self.hold_telling(spawn, input, |_| ())
    }

    /// The same, and tells whom it talks to as soon as the program runs, so that somebody else can
    /// signal it meanwhile.
    pub fn hold_telling(
        self,
        spawn: Spawn,
        input: Vec<u8>,
        started: impl FnOnce(&ProcessIdentity),
    ) -> Result<Reply, ConversationError> {
        let program = spawn.program.clone();
        let talk = |source| ConversationError::Talk {
            program: program.clone(),
            source,
        };
        let deadline = Deadline::after(self.limit);
        let mut child = spawn
            .stdin(Stream::Pipe)
            .stdout(Stream::Pipe)
            .stderr(Stream::Pipe)
            .start()?;
        started(child.handle().identity());
        let mut talk_goes_on = platform_talk::talk(
            &mut child,
            input,
            Drained::new(self.stdout_bytes_max, Keep::First),
            Drained::new(self.stderr_bytes_max, Keep::Last),
        );
        let ended = talk_goes_on
            .until_end(&mut child, &deadline)
            .map_err(talk)?;
        let Some(exit) = ended else {
            child.kill_and_wait(KILL_LIMIT).map_err(talk)?;
            return Err(ConversationError::TimedOut {
                program,
                limit: self.limit,
                // What it said until then; that it can't be read is no news any more.
                stderr: talk_goes_on
                    .rest()
                    .map(|(_, stderr)| stderr.kept)
                    .unwrap_or_default(),
            });
        };
        let (stdout, stderr) = talk_goes_on.rest().map_err(talk)?;
        Ok(Reply {
            exit,
            stdout: stdout.kept,
            stdout_bytes: stdout.total,
            stderr: stderr.kept,
        })
    }
}

/// Which bytes of a stream are kept when there are too many.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    First,
    Last,
}

/// What a stream has given so far.
#[derive(Debug)]
pub(super) struct Drained {
    kept: Vec<u8>,
    total: u64,
    bytes_max: usize,
    keep: Keep,
}

impl Drained {
    fn new(bytes_max: usize, keep: Keep) -> Self {
        Self {
            kept: Vec::new(),
            total: 0,
            bytes_max,
            keep,
        }
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        match self.keep {
            Keep::First => {
                let room = self.bytes_max.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
            }
            Keep::Last => {
                self.kept.extend_from_slice(bytes);
                let excess = self.kept.len().saturating_sub(self.bytes_max);
                self.kept.drain(..excess);
            }
        }
    }
}

/// The error of a stream that somebody else holds open.
pub(super) fn held_open() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "an output was held open")
}
