//! The error of everything that touches a file: what was being done, to which path, and why not.
//!
//! It must not become a sentence on the way up; callers match on [`FsError::kind`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct FsError {
    /// What was being done.
    pub action: FsAction,
    /// To which path.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl FsError {
    /// For callers that go on with a file they opened here: names the path that a bare error lacks.
    pub fn new(action: FsAction, path: &Path, source: impl Into<io::Error>) -> Self {
        Self {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// The kind of the cause.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// True when the object was not there.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// True when the file system has no room, or the user's share of it is used up.
    pub fn is_out_of_space(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// True when permissions refuse.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// True when the content was longer than the caller's limit.
    pub fn is_too_large(&self) -> bool {
        self.kind() == io::ErrorKind::FileTooLarge
    }
}

impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// What was being done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FsAction {
    /// Opening an existing file.
    Open,
    /// Making a file.
    Create,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making durable.
    Sync,
    /// Renaming.
    Rename,
    /// Making a symbolic link.
    Link,
    /// Removing.
    Remove,
    /// Changing the length.
    Resize,
    /// Reading attributes.
    Inspect,
    /// Changing permissions.
    Protect,
    /// Listing a folder.
    List,
    /// Cloning or copying.
    Clone,
    /// Making a folder.
    MakeFolder,
    /// Taking a lock.
    Lock,
}

impl fmt::Display for FsAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::Resize => "resize",
            Self::Inspect => "inspect",
            Self::Protect => "set the permissions of",
            Self::List => "list",
            Self::Clone => "clone to",
            Self::MakeFolder => "make folder",
            Self::Lock => "lock",
        })
    }
}
