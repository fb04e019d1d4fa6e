//! What a host sends to a process that may not be reading.

use super::output::enlarge;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The writing end of a process's input and what waits for it.
#[derive(Debug)]
pub(super) struct Stdin {
    pipe: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    waiting_bytes_max: usize,
    is_ended: bool,
    /// The pipe has been made larger, or can't be.
    is_large: bool,
    taken_bytes: u64,
    told_bytes: u64,
}

impl Stdin {
    /// Takes the non-blocking end; without one everything sent is dropped.
    pub(super) fn new(pipe: Option<OwnedFd>, waiting_bytes_max: u64) -> Self {
        Self {
            pipe,
            waiting: VecDeque::new(),
            waiting_bytes_max: usize::try_from(waiting_bytes_max).unwrap_or(usize::MAX),
            is_ended: false,
            is_large: false,
            taken_bytes: 0,
            told_bytes: 0,
        }
    }

    /// How much a host may have on its way. Half of what may wait, so that the connection goes on being
    /// read however little the process reads: a device that can't hand on what the host sent may stop to
    /// carry what the guest says.
    pub(super) fn window_bytes(waiting_bytes_max: u64) -> u64 {
        waiting_bytes_max / 2
    }

    /// What has been taken since the session began, when there is enough of it to tell the host.
    pub(super) fn news(&mut self) -> Option<u64> {
        let window = Self::window_bytes(self.waiting_bytes_max as u64);
        if self.taken_bytes - self.told_bytes < (window / 4).max(1) {
            return None;
        }
        self.told_bytes = self.taken_bytes;
        Some(self.taken_bytes)
    }

    /// Whether the connection may go on being read.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < self.waiting_bytes_max
    }

    /// Takes bytes; what comes after the end is dropped.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.is_ended {
            self.taken_bytes += bytes.len() as u64;
            return;
        }
        let rest = if self.waiting.is_empty() {
            // What the process takes at once need not wait first.
            self.write(bytes)
        } else {
            bytes
        };
        self.waiting.extend(rest);
    }

    /// No more will come; the process reads end of file after what waits.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
        self.feed();
    }

    /// What to poll for writing, when something waits.
    pub(super) fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe
            .as_ref()
            .filter(|_| !self.waiting.is_empty())
            .map(AsFd::as_fd)
    }

    /// Writes what the process takes now.
    pub(super) fn feed(&mut self) {
        while !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            let (front, _) = waiting.as_slices();
            let (before, left) = (front.len(), self.write(front).len());
            self.waiting = waiting;
            self.waiting.drain(..before - left);
            if left > 0 {
                return;
            }
        }
        if self.is_ended {
            self.pipe = None;
        }
    }

    /// Writes until the process takes no more; gives what is left. Without a pipe everything is taken, by
    /// nobody.
    fn write<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            let Some(pipe) = &self.pipe else {
                self.taken_bytes += bytes.len() as u64;
                return &[];
            };
            match rustix::io::write(pipe, bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.taken_bytes += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.is_large {
                        self.is_large = true;
                        enlarge(pipe.as_fd());
                        continue;
                    }
                    return bytes;
                }
                // The process does not want it; that is its right.
                Err(_) => self.pipe = None,
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Stdin;
    use std::io::Read as _;

    fn pair(waiting_bytes_max: u64) -> (std::io::PipeReader, Stdin) {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        (reader, Stdin::new(Some(writer.into()), waiting_bytes_max))
    }

    #[test]
    fn end_of_file_comes_after_what_waits() {
        let (mut reader, mut stdin) = pair(1 << 20);
        let sent = vec![5_u8; 400_000];
        stdin.push(&sent);
        stdin.feed();
        assert!(stdin.poll_fd().is_some(), "a pipe does not hold that much");
        stdin.end();
        stdin.push(b"late");
        let read = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        while let Some(fd) = stdin.poll_fd() {
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(
                fd,
                rustix::event::PollFlags::OUT,
            )];
            rustix::event::poll(&mut fds, None).unwrap();
            stdin.feed();
        }
        assert_eq!(read.join().unwrap(), sent);
    }

    #[test]
    fn a_process_that_does_not_read_fills_the_room() {
        let (_reader, mut stdin) = pair(100_000);
        while stdin.has_room() {
            stdin.push(&[0; 10_000]);
            stdin.feed();
        }
        assert!(stdin.waiting.len() < 110_000);
    }

    #[test]
    fn what_is_taken_or_dropped_is_told_in_large_pieces() {
        let (mut reader, mut stdin) = pair(80_000);
        assert_eq!(Stdin::window_bytes(80_000), 40_000);
        stdin.push(&[1; 9_999]);
        stdin.feed();
        assert_eq!(stdin.news(), None, "a quarter of the window is news");
        stdin.push(&[1; 1]);
        stdin.feed();
        assert_eq!((stdin.news(), stdin.news()), (Some(10_000), None));
        stdin.push(&vec![1; 400_000]);
        stdin.feed();
        let waits = stdin.waiting.len() as u64;
        assert_eq!(stdin.news(), Some(410_000 - waits));
        let mut some = [0; 1];
        reader.read_exact(&mut some).unwrap();
        drop(reader);
        stdin.feed();
        stdin.push(&[1; 10_000]);
        assert_eq!(stdin.news(), Some(420_000), "nobody will ever take them");
    }

    #[test]
    fn a_process_that_closed_its_input_is_let_be() {
        let (reader, mut stdin) = pair(1000);
        drop(reader);
        stdin.push(b"x");
        stdin.feed();
        assert!(stdin.pipe.is_none());
        assert!(stdin.has_room());
    }
}
