//! Making Unix sockets on macOS, where a socket has no mode before its name.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// 104 bytes with the terminator.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 103;

/// Between its birth and its mode the name is guarded by its folder, which is closed to others.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    let mode = std::fs::Permissions::from_mode(crate::fs::unix::FILE_MODE);
    std::fs::set_permissions(path, mode)?;
    Ok(listener)
}

/// This kernel refuses at once when the backlog is full, and does not say so in its own words.
pub(super) fn try_connect(path: &Path) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}
