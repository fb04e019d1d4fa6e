//! Folder permissions as Windows has them: a descriptor that lets in the owner, SYSTEM and
//! Administrators, given at birth.

use std::io;
use std::path::Path;

use super::PrivateFolderError;
use crate::error::{FsAction, FsError};
use crate::windows::security;

pub(super) fn create_private(path: &Path) -> io::Result<()> {
    security::create_private_folder(path)
}

/// Nothing is to be done: whom a folder lets in is settled when it is made.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the halves of other systems can fail"
)]
pub(super) fn close_to_others(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Whom a folder lets in is settled when it is made: its descriptor inherits nothing from above. That
/// it is a folder and no link is looked at.
pub(super) fn check_private(path: &Path) -> Result<(), PrivateFolderError> {
    let metadata = std::fs::symlink_metadata(path)
        .map_err(|error| FsError::new(FsAction::Inspect, path, error))?;
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(PrivateFolderError::NotAFolder {
            path: path.to_owned(),
        })
    }
}
