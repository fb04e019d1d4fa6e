//! What a session sends, from two threads: one feeds stdin, another hears signals.
//!
//! A signal must neither wait for a feeder that is stuck in a write nor be lost because one writes just now.
//! So it is laid down, and whoever has the connection, or gets it next, sends what lies there first.

use microagent_os::local_socket::Stream;
use microagent_wire::frame::{Frame, write_frame};
use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Frames that may lie there: a person who presses Ctrl-C, a window that is dragged.
const WAITING_MAX: usize = 64;

/// The sending half of a session's connection.
#[derive(Debug)]
pub(crate) struct SessionWriter {
    stream: Mutex<Stream>,
    waiting: Mutex<VecDeque<Frame>>,
}

impl SessionWriter {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream: Mutex::new(stream),
            waiting: Mutex::default(),
        }
    }

    /// Sends a frame, and before it what lies there. Waits for the connection.
    pub(crate) fn send(&self, frame: &Frame) -> io::Result<()> {
        let sent = {
            let mut stream = hold(&self.stream);
            self.send_waiting(&mut stream)
                .and_then(|()| write_frame(&mut *stream, frame))
        };
        self.flush_waiting();
        sent
    }

    /// Sends a frame without waiting: now, or by whoever writes just now when that is done. Beyond a bound
    /// the oldest is dropped.
    pub(crate) fn send_soon(&self, frame: Frame) {
        {
            let mut waiting = hold(&self.waiting);
            if waiting.len() == WAITING_MAX {
                waiting.pop_front();
            }
            waiting.push_back(frame);
        }
        self.flush_waiting();
    }

    /// What was laid down while the connection was held is sent by its holder here, after it let go: between
    /// its last look and that moment nobody else could.
    fn flush_waiting(&self) {
        while !hold(&self.waiting).is_empty() {
            let Ok(mut stream) = self.stream.try_lock() else {
                return;
            };
            // A broken connection shows where frames are read.
            if self.send_waiting(&mut stream).is_err() {
                return;
            }
        }
    }

    fn send_waiting(&self, stream: &mut Stream) -> io::Result<()> {
        loop {
            let Some(frame) = hold(&self.waiting).pop_front() else {
                return Ok(());
            };
            write_frame(stream, &frame)?;
        }
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one, and a broken connection shows where frames are read.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::SessionWriter;
    use microagent_os::local_socket::{self, Stream};
    use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame};
    use std::io::BufReader;
    use std::sync::Arc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);
    const ROUNDS: usize = 2000;

    fn pair() -> (tempfile::TempDir, Stream, Stream) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = local_socket::listen(&path).unwrap();
        let ours = local_socket::connect(&path, PATIENCE).unwrap();
        let theirs = listener.accept().unwrap().0;
        (folder, ours, theirs)
    }

    fn next(reader: &mut BufReader<Stream>) -> Frame {
        read_frame(reader, Sender::Host).unwrap().unwrap()
    }

    #[test]
    fn no_frame_is_lost_because_another_thread_writes() {
        let (_folder, ours, theirs) = pair();
        let writer = Arc::new(SessionWriter::new(ours));
        let feeder = Arc::clone(&writer);
        let feed = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                let bytes = Frame::new(FrameKind::Stdin, vec![7; 4096]);
                feeder.send(&bytes).unwrap();
            }
        });
        let teller = Arc::clone(&writer);
        let tell = std::thread::spawn(move || {
            for _ in 0..32 {
                teller.send_soon(Frame::new(FrameKind::Control, b"{}".to_vec()));
                std::thread::yield_now();
            }
        });
        let mut reader = BufReader::new(theirs);
        let (mut fed, mut told) = (0, 0);
        while fed < ROUNDS || told < 32 {
            match next(&mut reader).kind {
                FrameKind::Control => told += 1,
                _ => fed += 1,
            }
        }
        feed.join().unwrap();
        tell.join().unwrap();
    }

    #[test]
    fn what_is_laid_down_while_somebody_writes_goes_out_when_that_is_done() {
        let (_folder, ours, theirs) = pair();
        let writer = Arc::new(SessionWriter::new(ours));
        let feeder = Arc::clone(&writer);
        // More than a socket holds: it is written when it is read, and not before.
        let (tell, begun) = std::sync::mpsc::sync_channel(64);
        let feed = std::thread::spawn(move || {
            for _ in 0..64 {
                let bytes = Frame::new(FrameKind::Stdin, vec![7; 60_000]);
                feeder.send(&bytes).unwrap();
                tell.send(()).unwrap();
            }
        });
        begun.recv_timeout(PATIENCE).unwrap();
        writer.send_soon(Frame::new(FrameKind::Control, b"{}".to_vec()));
        let mut reader = BufReader::new(theirs);
        let kinds: Vec<FrameKind> = (0..65).map(|_| next(&mut reader).kind).collect();
        let before = kinds.iter().position(|kind| *kind == FrameKind::Control);
        assert!(before.is_some_and(|frames| frames < 64), "{before:?}");
        feed.join().unwrap();
        drop(begun);
    }
}
