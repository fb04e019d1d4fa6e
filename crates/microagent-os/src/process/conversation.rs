//! One question to a program and its whole answer: bytes in, two streams out, all bounded.
//!
//! Written by hand it deadlocks (a full pipe on each side), fills the memory (an answer without
//! end) or hangs (a child that never ends). Here stdin is fed and both streams are drained at once,
//! each has a limit, and the deadline ends the child.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::{Exit, ProcessIdentity, Spawn, SpawnError, Stream};
use crate::clock::Deadline;

/// The time that a killed child gets to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// The time that streams get to end after the child has, since a grandchild may hold them.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
const CHUNK_BYTES: usize = 64 * 1024;

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
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feeder = std::thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                // A reader that is gone has its reasons; its answer tells them.
                let _ = stdin.write_all(&input);
            }
        });
        let stdout = drain(stdout, self.stdout_bytes_max, Keep::First);
        let stderr = drain(stderr, self.stderr_bytes_max, Keep::Last);

        let ended = child.wait_for(deadline.remaining()).map_err(talk)?;
        let Some(exit) = ended else {
            child.kill_and_wait(KILL_LIMIT).map_err(talk)?;
            let stderr = stderr.collect().unwrap_or_default().kept;
            return Err(ConversationError::TimedOut {
                program,
                limit: self.limit,
                stderr,
            });
        };
        let (stdout, stderr) = (
            stdout.collect().map_err(talk)?,
            stderr.collect().map_err(talk)?,
        );
        // It ends with the child's stdin; a grandchild that holds it keeps only the thread.
        drop(feeder);
        Ok(Reply {
            exit,
            stdout: stdout.kept,
            stdout_bytes: stdout.total,
            stderr: stderr.kept,
        })
    }
}

#[derive(Clone, Copy)]
enum Keep {
    First,
    Last,
}

#[derive(Default)]
struct Drained {
    kept: Vec<u8>,
    total: u64,
}

struct Drain(std::sync::mpsc::Receiver<io::Result<Drained>>);

impl Drain {
    fn collect(self) -> io::Result<Drained> {
        self.0
            .recv_timeout(DRAIN_LIMIT)
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "an output was held open"))?
    }
}

fn drain(stream: Option<impl Read + Send + 'static>, bytes_max: usize, keep: Keep) -> Drain {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let drained = match stream {
            Some(stream) => drain_to_end(stream, bytes_max, keep),
            None => Ok(Drained::default()),
        };
        // Whoever asked may have given up.
        let _ = sender.send(drained);
    });
    Drain(receiver)
}

fn drain_to_end(mut stream: impl Read, bytes_max: usize, keep: Keep) -> io::Result<Drained> {
    let mut drained = Drained::default();
    let mut chunk = vec![0u8; CHUNK_BYTES];
    loop {
        let read = match stream.read(&mut chunk) {
            Ok(0) => return Ok(drained),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        drained.total += read as u64;
        match keep {
            Keep::First => {
                let room = bytes_max.saturating_sub(drained.kept.len()).min(read);
                drained.kept.extend_from_slice(&chunk[..room]);
            }
            Keep::Last => {
                drained.kept.extend_from_slice(&chunk[..read]);
                let excess = drained.kept.len().saturating_sub(bytes_max);
                drained.kept.drain(..excess);
            }
        }
    }
}
