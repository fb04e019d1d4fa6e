//! Folders on a host where this crate can't work by descriptors: every one is refused.

use std::ffi::CString;
use std::io;
use std::path::Path;

pub use crate::choices::Kind;

/// None can be opened.
#[derive(Debug)]
pub struct Folder(Never);

#[derive(Debug)]
enum Never {}

/// Why nothing is copied here.
fn refused() -> io::Error {
    let why = "files of this operating system cannot be copied by this build";
    io::Error::new(io::ErrorKind::Unsupported, why)
}

impl Folder {
    /// Refused.
    ///
    /// # Errors
    /// Always, of kind `Unsupported`.
    pub fn open(_path: &Path) -> io::Result<Self> {
        Err(refused())
    }

    /// What a name in it is.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn kind_of(&self, _name: &[u8]) -> io::Result<Option<Kind>> {
        match self.0 {}
    }

    /// Makes a folder in it.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn make_folder(&self, _name: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    /// Opens a folder in it.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn enter(&self, _name: &[u8]) -> io::Result<Self> {
        match self.0 {}
    }

    pub(crate) fn nothing<T>(&self) -> T {
        match self.0 {}
    }
}

/// The folder that holds a path.
///
/// # Errors
/// Always, of kind `Unsupported`.
pub fn parent_of(_path: &Path) -> io::Result<(Folder, Option<CString>)> {
    Err(refused())
}
