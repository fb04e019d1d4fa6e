//! The lab's ports: what comes out of it, each over a socket that QEMU connects to.
//!
//! Streams are copied as they come. The status is one line with a number; a lab that ends without
//! it has failed, whatever its streams said.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Bytes of the longest status line.
const STATUS_BYTES_MAX: u64 = 16;
const CHUNK_BYTES: usize = 64 * 1024;

/// A port that is listened to.
pub(crate) struct Port<T>(JoinHandle<std::io::Result<T>>);

impl<T> Port<T> {
    /// Whether everything has come.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// What came.
    pub(crate) fn finish(self) -> Result<T> {
        let outcome = self.0.join();
        let outcome = outcome.map_err(|_| anyhow::anyhow!("a port's thread panicked"))?;
        outcome.context("a port of the lab broke")
    }
}

/// Copies what comes to a stream of this process until the lab ends.
pub(crate) fn copy(socket: &Path, mut target: impl Write + Send + 'static) -> Result<Port<()>> {
    let listener = listen(socket)?;
    Ok(Port(std::thread::spawn(move || {
        let (mut source, _) = listener.accept()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = source.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            target.write_all(&chunk[..read])?;
            target.flush()?;
        }
    })))
}

/// Waits for the command's exit status.
pub(crate) fn status(socket: &Path) -> Result<Port<Option<u8>>> {
    let listener = listen(socket)?;
    Ok(Port(std::thread::spawn(move || {
        let (source, _) = listener.accept()?;
        let mut line = Vec::new();
        BufReader::new(source.take(STATUS_BYTES_MAX)).read_until(b'\n', &mut line)?;
        Ok(parse(&line))
    })))
}

fn parse(line: &[u8]) -> Option<u8> {
    std::str::from_utf8(line).ok()?.trim_end().parse().ok()
}

fn listen(socket: &Path) -> Result<UnixListener> {
    UnixListener::bind(socket).with_context(|| format!("cannot listen on `{}`", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_number_and_a_lab_without_one_has_none() {
        assert_eq!(parse(b"0"), Some(0));
        assert_eq!(parse(b"255\n"), Some(255));
        for line in [&b""[..], b"256", b"-1", b"1 2", b"\xff"] {
            assert_eq!(parse(line), None);
        }
    }
}
