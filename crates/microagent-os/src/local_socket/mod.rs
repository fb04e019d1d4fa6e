//! Sockets between processes of one host and one user.
//!
//! The troubles: a socket address is 107 bytes at most while paths are longer, a socket is born
//! with whatever the umask leaves, and connecting to one whose server hangs blocks for ever. Here
//! a socket is born 0600, a peer can be asked who it is, a connect has a limit, and a long folder
//! gets a [`short_alias`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dirs::PrivateFolderError;
use crate::error::FsError;

#[cfg(unix)]
mod alias;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod kernel;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod kernel;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

#[cfg(feature = "tokio")]
pub use platform::{AsyncListener, AsyncStream, connect_async};
pub use platform::{Listener, Stream, pair};

/// Bytes of a socket's path, without the terminator, that every Unix takes.
pub const SOCKET_PATH_BYTES_MAX: usize = platform::SOCKET_PATH_BYTES_MAX;

/// Why a socket is not there.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path does not fit into an address.
    #[error("socket path `{}` is longer than {SOCKET_PATH_BYTES_MAX} bytes", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// It could not be bound.
    #[error("cannot listen on `{}`", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody accepts there.
    #[error("cannot connect to `{}`", path.display())]
    Connect {
        /// The path.
        path: PathBuf,
        /// Why; kind `TimedOut` when the server did not accept within the limit.
        #[source]
        source: io::Error,
    },
}

impl SocketError {
    /// The kind of the cause.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::PathTooLong { .. } => io::ErrorKind::InvalidFilename,
            Self::Bind { source, .. } | Self::Connect { source, .. } => source.kind(),
        }
    }
}

/// Who is on the other side, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its pid when it connected, for records; `None` when it is in a namespace that we can't see.
    pub pid: Option<u32>,
}

impl Peer {
    /// True for the user that runs this process.
    pub fn is_own_user(self) -> bool {
        self.uid == crate::process::effective_user()
    }
}

/// Listens on a path, 0600. A name that is taken, even by a dead socket, is an error of kind
/// `AddrInUse`.
pub fn listen(path: &Path) -> Result<Listener, SocketError> {
    check_length(path)?;
    platform::listen(path).map_err(|source| SocketError::Bind {
        path: path.to_owned(),
        source,
    })
}

/// Connects within a limit. A server that is busy is tried again until then.
pub fn connect(path: &Path, limit: Duration) -> Result<Stream, SocketError> {
    check_length(path)?;
    platform::connect(path, limit).map_err(|source| SocketError::Connect {
        path: path.to_owned(),
        source,
    })
}

fn check_length(path: &Path) -> Result<(), SocketError> {
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(SocketError::PathTooLong {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Why there is no alias.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// The folder for aliases can't be trusted.
    #[error(transparent)]
    Folder(#[from] PrivateFolderError),
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Whether sockets in a folder can only be reached through an alias of it.
pub fn needs_alias(folder: &Path) -> bool {
    platform::needs_alias(folder)
}

/// The folder for aliases: below the user's runtime folder, or in `/tmp` with the user's id.
/// A runtime folder that is not ours is passed over.
pub fn alias_folder(runtime_folder: Option<&Path>) -> PathBuf {
    platform::alias_folder(runtime_folder)
}

/// Makes sure that `<aliases>/<name>` is a link to `folder` and returns it. The folder of aliases
/// must be ours and closed to others. An alias that leads elsewhere is replaced.
pub fn short_alias(aliases: &Path, name: &str, folder: &Path) -> Result<PathBuf, AliasError> {
    platform::short_alias(aliases, name, folder)
}

/// Removes an alias, if it is a link. True when there was one.
pub fn remove_alias(alias: &Path) -> Result<bool, FsError> {
    platform::remove_alias(alias)
}

#[cfg(test)]
mod tests;
