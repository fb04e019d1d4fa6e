//! File calls that only macOS has; the Linux sibling has the same names.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::unix::unnamed_by_removal;

/// Network file systems, as this kernel names them.
const NETWORK: [&str; 5] = ["nfs", "smbfs", "afpfs", "webdav", "ftp"];

pub(crate) fn create_unnamed(folder: &Path) -> io::Result<File> {
    unnamed_by_removal(folder)
}

/// A hole must have the block boundaries of its file system here; zeros are written instead.
#[expect(clippy::unnecessary_wraps, reason = "the Linux sibling can fail")]
pub(crate) fn punch_hole(_file: &File, _position: u64, _length_bytes: u64) -> io::Result<bool> {
    Ok(false)
}

/// Nothing on this system has a pipe by name.
pub(crate) fn create_fifo(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `fsync` alone leaves the data in the drive's cache here.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(folder, flags, Mode::empty())?;
    match rustix::fs::fcntl_fullfsync(&descriptor) {
        Ok(()) => Ok(()),
        // A file system that knows no such thing.
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL) => {
            Ok(rustix::fs::fsync(&descriptor)?)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let status = rustix::fs::statfs(path)?;
    let name: Vec<u8> = status
        .f_fstypename
        .iter()
        .map(|byte| byte.cast_unsigned())
        .collect();
    let Ok(name) = CStr::from_bytes_until_nul(&name) else {
        return Ok(None);
    };
    Ok(NETWORK
        .into_iter()
        .find(|known| name.to_bytes() == known.as_bytes()))
}
