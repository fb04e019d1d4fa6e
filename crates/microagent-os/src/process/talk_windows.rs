//! The three pipes of a child at once: a thread for each, since a pipe can't be waited for here. The Unix
//! sibling has the same names.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};

use super::conversation::{CHUNK_BYTES, DRAIN_LIMIT, Drained, held_open};
use super::{Child, Exit};
use crate::clock::Deadline;

/// A conversation that goes on.
pub(super) struct Talk {
    stdout: Receiver<io::Result<Drained>>,
    stderr: Receiver<io::Result<Drained>>,
}

/// Feeds the child and makes ready to hear it.
pub(super) fn talk(child: &mut Child, input: Vec<u8>, stdout: Drained, stderr: Drained) -> Talk {
    if let Some(mut stdin) = child.stdin.take() {
        // It ends with the child's stdin; a grandchild that holds it keeps only the thread.
        std::thread::spawn(move || {
            // A reader that is gone has its reasons; its answer tells them.
            let _ = stdin.write_all(&input);
        });
    }
    Talk {
        stdout: drain(child.stdout.take(), stdout),
        stderr: drain(child.stderr.take(), stderr),
    }
}

impl Talk {
    /// Hears the child until it ends; `None` when the time ran out.
    #[expect(clippy::unused_self, reason = "the Unix sibling hears meanwhile")]
    pub(super) fn until_end(
        &mut self,
        child: &mut Child,
        deadline: &Deadline,
    ) -> io::Result<Option<Exit>> {
        child.wait_for(deadline.remaining())
    }

    /// What is left in the pipes behind the child's end, and all that was heard.
    pub(super) fn rest(self) -> io::Result<(Drained, Drained)> {
        Ok((collect(&self.stdout)?, collect(&self.stderr)?))
    }
}

fn collect(drained: &Receiver<io::Result<Drained>>) -> io::Result<Drained> {
    drained.recv_timeout(DRAIN_LIMIT).map_err(|_| held_open())?
}

fn drain(
    stream: Option<impl Read + Send + 'static>,
    heard: Drained,
) -> Receiver<io::Result<Drained>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let drained = match stream {
            Some(stream) => drain_to_end(stream, heard),
            None => Ok(heard),
        };
        // Whoever asked may have given up.
        let _ = sender.send(drained);
    });
    receiver
}

fn drain_to_end(mut stream: impl Read, mut heard: Drained) -> io::Result<Drained> {
    let mut chunk = vec![0u8; CHUNK_BYTES];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(heard),
            Ok(read) => heard.take(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
