//! The three pipes of a child at once, on this thread: a poll over both outputs and the child's end. The
//! Windows sibling has the same names.
//!
//! A thread for each pipe would cost as much as a short child does.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStderr, ChildStdout};
use std::time::Duration;

use super::conversation::{CHUNK_BYTES, DRAIN_LIMIT, Drained, held_open};
use super::{Child, Exit, wait_readable};
use crate::clock::Deadline;

/// What an empty pipe takes in one piece, whoever reads it and when.
const FED_AT_ONCE_BYTES_MAX: usize = 4096;

/// A conversation that goes on.
pub(super) struct Talk {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    heard: (Drained, Drained),
    chunk: Vec<u8>,
}

/// Feeds the child and makes ready to hear it.
pub(super) fn talk(child: &mut Child, input: Vec<u8>, stdout: Drained, stderr: Drained) -> Talk {
    if let Some(mut stdin) = child.stdin.take() {
        // A reader that is gone has its reasons; its answer tells them.
        if input.len() <= FED_AT_ONCE_BYTES_MAX {
            let _ = stdin.write_all(&input);
        } else {
            // It ends with the child's stdin; a grandchild that holds it keeps only the thread.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&input);
            });
        }
    }
    Talk {
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        heard: (stdout, stderr),
        chunk: vec![0; CHUNK_BYTES],
    }
}

impl Talk {
    /// Hears the child until it ends; `None` when the time ran out.
    pub(super) fn until_end(
        &mut self,
        child: &mut Child,
        deadline: &Deadline,
    ) -> io::Result<Option<Exit>> {
        loop {
            let remaining = deadline.remaining();
            if self.hear(Some(child), remaining)? {
                return child.try_wait();
            }
            if remaining.is_zero() {
                return Ok(None);
            }
        }
    }

    /// What is left in the pipes behind the child's end, and all that was heard.
    pub(super) fn rest(mut self) -> io::Result<(Drained, Drained)> {
        let deadline = Deadline::after(DRAIN_LIMIT);
        while self.stdout.is_some() || self.stderr.is_some() {
            let remaining = deadline.remaining();
            self.hear(None, remaining)?;
            if remaining.is_zero() {
                return Err(held_open());
            }
        }
        Ok(self.heard)
    }

    /// Waits for something and takes what is there. True when the child has ended.
    fn hear(&mut self, child: Option<&Child>, limit: Duration) -> io::Result<bool> {
        let outputs = [
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
        ];
        let end = child.map(|child| child.handle().descriptor());
        let waited: Vec<_> = outputs.into_iter().flatten().chain(end).collect();
        let mut ready = wait_readable(&waited, Some(limit))?.into_iter();
        let [stdout, stderr] = outputs.map(|output| output.is_some() && ready.next() == Some(true));
        let ended = ready.next() == Some(true);
        if stdout {
            take(&mut self.stdout, &mut self.heard.0, &mut self.chunk)?;
        }
        if stderr {
            take(&mut self.stderr, &mut self.heard.1, &mut self.chunk)?;
        }
        Ok(ended)
    }
}

/// One read of a pipe that has something; its end closes it.
fn take(stream: &mut Option<impl Read>, heard: &mut Drained, chunk: &mut [u8]) -> io::Result<()> {
    let Some(open) = stream else {
        return Ok(());
    };
    match open.read(chunk) {
        Ok(0) => *stream = None,
        Ok(read) => heard.take(&chunk[..read]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
