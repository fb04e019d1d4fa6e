//! A folder by descriptor, and the way to what lies in it without following a link.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

pub use crate::choices::Kind;

/// Flags for a folder that is entered: never through a link.
pub(crate) const ENTER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub struct Folder(pub(crate) OwnedFd);

impl Folder {
    /// Opens a folder by its path. Links on the way and at its end are followed: it is the caller's
    /// own choice of a place.
    ///
    /// # Errors
    /// When it is no folder, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Takes a descriptor that was opened elsewhere.
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// What a name in it is, itself and not what a link leads to; none when nothing has the name.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn kind_of(&self, name: &[u8]) -> io::Result<Option<Kind>> {
        match self.status(name) {
            Ok(status) => Ok(Some(Kind::of(&status))),
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a folder in it, 0700 until somebody says otherwise.
    ///
    /// # Errors
    /// When the name is taken, or the folder may not be written.
    pub fn make_folder(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?)
    }

    /// Opens a folder in it; a link is refused.
    ///
    /// # Errors
    /// When there is none.
    pub fn enter(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(
            &self.0,
            name,
            ENTER,
            Mode::empty(),
        )?))
    }

    pub(crate) fn status(&self, name: &[u8]) -> io::Result<Stat> {
        Ok(rustix::fs::statat(
            &self.0,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Kind {
    pub(crate) fn of(status: &Stat) -> Self {
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// The folder that holds `path`, and its name there; `.` and none for a root.
///
/// # Errors
/// When the folder can't be opened.
pub fn parent_of(path: &Path) -> io::Result<(Folder, Option<CString>)> {
    let parent = path.parent().unwrap_or(path);
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let name = path.file_name().map(|name| CString::new(name.as_bytes()));
    Ok((Folder::open(parent)?, name.transpose()?))
}
