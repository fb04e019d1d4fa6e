//! Unix stream sockets.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

pub(super) use super::alias::{alias_folder, needs_alias, remove_alias, short_alias};
pub(super) use super::kernel::SOCKET_PATH_BYTES_MAX;
use super::{Peer, kernel};
use crate::clock::Deadline;
use crate::process::Descriptor;

/// The pause between two tries of a server whose backlog is full.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// A listening socket. Dropping it stops listening; the name stays until it is removed.
#[derive(Debug)]
pub struct Listener(UnixListener);

/// A connection.
#[derive(Debug)]
pub struct Stream(UnixStream);

pub(super) fn listen(path: &Path) -> io::Result<Listener> {
    kernel::listen(path).map(Listener)
}

pub(super) fn connect(path: &Path, limit: Duration) -> io::Result<Stream> {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(stream) = kernel::try_connect(path)? {
            return Ok(Stream(stream));
        }
        let left = deadline.remaining();
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        crate::clock::pause(left.min(CONNECT_PAUSE));
    }
}

/// Two connected sockets.
pub fn pair() -> io::Result<(Stream, Stream)> {
    let (one, other) = UnixStream::pair()?;
    Ok((Stream(one), Stream(other)))
}

fn peer_of(socket: impl AsFd) -> io::Result<Peer> {
    let (uid, pid) = crate::process::unix::peer_of_socket(socket.as_fd())?;
    Ok(Peer { uid, pid })
}

impl Listener {
    /// Waits for a connection and says who it is.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        let (stream, _) = self.0.accept()?;
        let peer = peer_of(&stream)?;
        Ok((Stream(stream), peer))
    }

    /// The socket, to hand it to a child or a loop.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0.into()
    }

    /// For a tokio loop; must be called inside one.
    #[cfg(feature = "tokio")]
    pub fn into_async(self) -> io::Result<AsyncListener> {
        self.0.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(self.0).map(AsyncListener)
    }
}

impl Stream {
    /// The connection, to wait for.
    pub fn descriptor(&self) -> Descriptor<'_> {
        self.0.as_fd()
    }

    /// Who is on the other side.
    pub fn peer(&self) -> io::Result<Peer> {
        peer_of(&self.0)
    }

    /// A second handle of the same connection, to read and write at once.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The longest that one read waits; `None` is for ever.
    pub fn set_read_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(limit)
    }

    /// The longest that one write waits; `None` is for ever.
    pub fn set_write_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(limit)
    }

    /// Ends both directions for every handle of the connection.
    pub fn shut_down(&self) -> io::Result<()> {
        match self.0.shutdown(std::net::Shutdown::Both) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// The socket, to hand it to a child.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0.into()
    }

    /// For a tokio loop; must be called inside one.
    #[cfg(feature = "tokio")]
    pub fn into_async(self) -> io::Result<AsyncStream> {
        self.0.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(self.0)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection of a tokio loop.
#[cfg(feature = "tokio")]
pub type AsyncStream = tokio::net::UnixStream;

/// Connects inside a tokio loop. The caller sets the limit.
#[cfg(feature = "tokio")]
pub async fn connect_async(path: impl AsRef<Path>) -> io::Result<AsyncStream> {
    tokio::net::UnixStream::connect(path).await
}

/// A listening socket of a tokio loop.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub struct AsyncListener(tokio::net::UnixListener);

#[cfg(feature = "tokio")]
impl AsyncListener {
    /// Waits for a connection and says who it is.
    pub async fn accept(&self) -> io::Result<(AsyncStream, Peer)> {
        let (stream, _) = self.0.accept().await?;
        let peer = peer_of(&stream)?;
        Ok((stream, peer))
    }
}
