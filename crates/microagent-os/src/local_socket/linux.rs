//! Making Unix sockets as only Linux can: born close-on-exec and 0600.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// 108 bytes with the terminator.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = socket(SocketFlags::CLOEXEC)?;
    // The name gets the mode of the open socket, so it is never open to others.
    rustix::fs::fchmod(
        &socket,
        rustix::fs::Mode::from_raw_mode(crate::fs::unix::FILE_MODE),
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// `None` when the backlog is full.
pub(super) fn try_connect(path: &Path) -> io::Result<Option<UnixStream>> {
    let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {
            let stream = UnixStream::from(socket);
            stream.set_nonblocking(false)?;
            Ok(Some(stream))
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}
