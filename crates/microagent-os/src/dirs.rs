//! Folders that only their owner can enter.
//!
//! The state directory holds disks, consoles and credentials in environments; it must never exist
//! with wider permissions, not even for a moment, and a folder that somebody else prepared in a
//! shared place is refused and not repaired.

use std::io;
use std::path::Path;

use crate::error::{FsAction, FsError};
use crate::fs;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// What is wrong with a folder that should be private.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFolderError {
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A link or something else has the name.
    #[error("`{}` is not a folder", path.display())]
    NotAFolder {
        /// The path in question.
        path: std::path::PathBuf,
    },
    /// It belongs to another user.
    #[error("`{}` belongs to another user", path.display())]
    ForeignOwner {
        /// The path in question.
        path: std::path::PathBuf,
    },
    /// Group or others may enter.
    #[error("`{}` is open to others (mode {mode:o})", path.display())]
    OpenToOthers {
        /// The path in question.
        path: std::path::PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Makes one folder, born 0700. A name that is taken is an error of kind `AlreadyExists`.
pub fn create_private(path: &Path) -> Result<(), FsError> {
    platform::create_private(path).map_err(|error| FsError::new(FsAction::MakeFolder, path, error))
}

/// Makes one folder, born 0700, when it is not there. True when it was made.
///
/// What is there is not looked at; see [`check_private`].
pub fn ensure_private(path: &Path) -> Result<bool, FsError> {
    match create_private(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::is_folder(path) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// As [`ensure_private`] with every missing parent, each born 0700.
pub fn ensure_private_all(path: &Path) -> Result<(), FsError> {
    let mut missing = Vec::new();
    let mut next = Some(path);
    while let Some(folder) = next {
        if folder.as_os_str().is_empty() || fs::is_folder(folder) {
            break;
        }
        missing.push(folder);
        next = folder.parent();
    }
    for folder in missing.into_iter().rev() {
        ensure_private(folder)?;
    }
    Ok(())
}

/// Takes a folder of ours away from group and others; a link is refused, not followed.
pub fn close_to_others(path: &Path) -> Result<(), FsError> {
    platform::close_to_others(path).map_err(|error| FsError::new(FsAction::Protect, path, error))
}

/// Checks that a folder is one, is ours, is no link and lets nobody else in.
pub fn check_private(path: &Path) -> Result<(), PrivateFolderError> {
    platform::check_private(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn every_folder_that_is_made_is_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/c");
        ensure_private_all(&path).unwrap();
        ensure_private_all(&path).unwrap();
        for name in ["a", "a/b", "a/b/c"] {
            check_private(&root.path().join(name)).unwrap();
        }
        assert!(!ensure_private(&path).unwrap());
    }

    #[test]
    fn an_open_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("open");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(
            check_private(&path),
            Err(PrivateFolderError::OpenToOthers { mode: 0o750, .. })
        ));
        close_to_others(&path).unwrap();
        check_private(&path).unwrap();
        symlink(&path, root.path().join("l")).unwrap();
        assert!(close_to_others(&root.path().join("l")).is_err());
    }

    #[test]
    fn a_link_and_a_file_are_no_private_folder() {
        let root = tempfile::tempdir().unwrap();
        symlink(root.path(), root.path().join("l")).unwrap();
        std::fs::write(root.path().join("f"), b"").unwrap();
        for name in ["l", "f"] {
            let checked = check_private(&root.path().join(name));
            assert!(
                matches!(checked, Err(PrivateFolderError::NotAFolder { .. })),
                "{name}"
            );
        }
        assert!(ensure_private(&root.path().join("f")).is_err());
    }
}
