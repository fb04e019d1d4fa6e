//! Named pipes under the names that sockets have on other hosts.
//!
//! A folder of sockets stands for a prefix of pipe names: `\\.\pipe\microagent-0123456789abcdef` and
//! `monitor.sock` in it are the pipe `\\.\pipe\microagent-0123456789abcdef-monitor`. Every pipe lets in
//! its owner, SYSTEM and Administrators alone, so whoever is connected was admitted by the system.

use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{AliasError, Peer};
use crate::clock::Deadline;
use crate::error::FsError;
use crate::process::Descriptor;
use crate::windows::pipes::{self, Instance, Overlap};

/// Characters of a pipe's name.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 255;
const PIPES: &str = r"\\.\pipe";
/// The pause between two tries of a server whose ends are all taken.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// A listening pipe. Dropping it stops listening; nothing stays.
#[derive(Debug)]
pub struct Listener {
    name: PathBuf,
    /// The end that the next client opens.
    next: Mutex<OwnedHandle>,
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    pipe: Arc<OwnedHandle>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Limits {
    read: Mutex<Option<Duration>>,
    write: Mutex<Option<Duration>>,
}

/// Only an alias gives pipes a name.
pub(super) fn needs_alias(_folder: &Path) -> bool {
    true
}

pub(super) fn alias_folder(_runtime_folder: Option<&Path>) -> PathBuf {
    PathBuf::from(PIPES)
}

/// The prefix of the names; nothing is made.
#[expect(clippy::unnecessary_wraps, reason = "the Unix sibling can fail")]
pub(super) fn short_alias(
    aliases: &Path,
    name: &str,
    _folder: &Path,
) -> Result<PathBuf, AliasError> {
    Ok(aliases.join(format!("microagent-{name}")))
}

#[expect(clippy::unnecessary_wraps, reason = "the Unix sibling can fail")]
pub(super) fn remove_alias(_alias: &Path) -> Result<bool, FsError> {
    Ok(false)
}

/// The pipe of a name in a folder of sockets.
fn pipe_name(path: &Path) -> io::Result<PathBuf> {
    let text = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    let inner = text
        .strip_prefix(PIPES)
        .and_then(|inner| inner.strip_prefix('\\'))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "not a pipe's name"))?;
    let inner = inner.strip_suffix(".sock").unwrap_or(inner);
    Ok(PathBuf::from(format!(
        r"{PIPES}\{}",
        inner.replace('\\', "-")
    )))
}

pub(super) fn listen(path: &Path) -> io::Result<Listener> {
    let name = pipe_name(path)?;
    let next = pipes::create(&name, Instance::First).map_err(|error| taken(&error))?;
    Ok(Listener {
        name,
        next: Mutex::new(next),
    })
}

/// A name that somebody has is "access denied" here.
fn taken(error: &io::Error) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => io::ErrorKind::AddrInUse,
        kind => kind,
    };
    io::Error::new(kind, error.to_string())
}

pub(super) fn connect(path: &Path, limit: Duration) -> io::Result<Stream> {
    let name = pipe_name(path)?;
    let deadline = Deadline::after(limit);
    loop {
        if let Some(pipe) = pipes::open(&name, Overlap::Yes)? {
            return Ok(Stream::new(pipe));
        }
        let left = deadline.remaining();
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        crate::clock::pause(left.min(CONNECT_PAUSE));
    }
}

/// Two connected ends. The second is for a child: it does one thing at a time.
pub fn pair() -> io::Result<(Stream, Stream)> {
    let name = PathBuf::from(format!(r"{PIPES}\microagent-{}", crate::random::hex_16()));
    let ours = pipes::create(&name, Instance::First)?;
    let theirs = pipes::open(&name, Overlap::No)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok((Stream::new(ours), Stream::new(theirs)))
}

impl Listener {
    /// Waits for a connection and says who it is.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        pipes::await_client(next.as_handle())?;
        let following = pipes::create(&self.name, Instance::Further)?;
        let stream = Stream::new(std::mem::replace(&mut *next, following));
        let peer = stream.peer()?;
        Ok((stream, peer))
    }

    /// For a tokio loop; must be called inside one.
    #[cfg(feature = "tokio")]
    pub fn into_async(self) -> io::Result<AsyncListener> {
        let next = self
            .next
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(AsyncListener {
            name: self.name,
            next: tokio::sync::Mutex::new(crate::windows::named::adopt(next)?),
        })
    }
}

impl Stream {
    fn new(pipe: OwnedHandle) -> Self {
        Self {
            pipe: Arc::new(pipe),
            limits: Limits::default(),
        }
    }

    /// The connection, to wait for.
    pub fn descriptor(&self) -> Descriptor<'_> {
        Descriptor::Pipe(self.pipe.as_handle())
    }

    /// Who is on the other side: somebody whom the pipe's permissions let in.
    pub fn peer(&self) -> io::Result<Peer> {
        Ok(admitted(self.pipe.as_handle()))
    }

    /// A second handle of the same connection, to read and write at once.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            pipe: Arc::clone(&self.pipe),
            limits: Limits::default(),
        })
    }

    /// The longest that one read waits; `None` is for ever.
    pub fn set_read_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        *held(&self.limits.read) = limit;
        Ok(())
    }

    /// The longest that one write waits; `None` is for ever.
    pub fn set_write_limit(&self, limit: Option<Duration>) -> io::Result<()> {
        *held(&self.limits.write) = limit;
        Ok(())
    }

    /// Ends both directions for every handle of the connection.
    pub fn shut_down(&self) -> io::Result<()> {
        pipes::end(self.pipe.as_handle());
        Ok(())
    }

    /// The pipe, to hand it to a child. Panics when there is a second handle of it.
    pub fn into_descriptor(self) -> OwnedHandle {
        Arc::into_inner(self.pipe).expect("a connection that is given away has one handle")
    }

    /// For a tokio loop; must be called inside one.
    #[cfg(feature = "tokio")]
    pub fn into_async(self) -> io::Result<AsyncStream> {
        crate::windows::named::adopt(self.into_descriptor())
    }
}

fn held(limit: &Mutex<Option<Duration>>) -> std::sync::MutexGuard<'_, Option<Duration>> {
    limit.lock().unwrap_or_else(PoisonError::into_inner)
}

fn admitted(pipe: BorrowedHandle<'_>) -> Peer {
    Peer {
        uid: crate::process::effective_user(),
        pid: pipes::client(pipe).ok(),
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        pipes::read(self.pipe.as_handle(), buffer, *held(&self.limits.read))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        pipes::write(self.pipe.as_handle(), bytes, *held(&self.limits.write))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection of a tokio loop.
#[cfg(feature = "tokio")]
pub type AsyncStream = tokio::net::windows::named_pipe::NamedPipeServer;

/// Connects inside a tokio loop. A target that is a socket file has no counterpart here.
#[cfg(feature = "tokio")]
pub async fn connect_async(_path: impl AsRef<Path>) -> io::Result<AsyncStream> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A listening pipe of a tokio loop.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub struct AsyncListener {
    name: PathBuf,
    next: tokio::sync::Mutex<AsyncStream>,
}

#[cfg(feature = "tokio")]
impl AsyncListener {
    /// Waits for a connection and says who it is.
    pub async fn accept(&self) -> io::Result<(AsyncStream, Peer)> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        let following = crate::windows::named::create(&self.name, Instance::Further)?;
        let stream = std::mem::replace(&mut *next, following);
        let peer = admitted(stream.as_handle());
        Ok((stream, peer))
    }
}
