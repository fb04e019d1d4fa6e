//! Removal by path: a link or junction is removed and never entered.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use crate::error::{FsAction, FsError};
use crate::windows::files;

/// Folders inside folders that one removal descends into.
const DEPTH_MAX: usize = 1024;

pub(super) fn remove_tree(path: &Path) -> Result<u64, FsError> {
    remove_entry(path, 0).map_err(|error| FsError::new(FsAction::Remove, path, error))
}

pub(super) fn empty_folder(path: &Path) -> Result<u64, FsError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_children(path, 0),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
    .map_err(|error| FsError::new(FsAction::Remove, path, error))
}

fn remove_entry(path: &Path, depth: usize) -> io::Result<u64> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!(
            "more than {DEPTH_MAX} folders inside each other"
        )));
    }
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        let freed = remove_children(path, depth + 1)?;
        gone(std::fs::remove_dir(path)).map(|()| freed)
    } else {
        let freed = occupied(path, &metadata);
        let removed = if is_link_to_folder(&metadata) {
            std::fs::remove_dir(path)
        } else {
            std::fs::remove_file(path)
        };
        gone(removed).map(|()| freed)
    }
}

fn remove_children(folder: &Path, depth: usize) -> io::Result<u64> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name());
        if names.len() > super::FOLDER_ENTRIES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    let mut freed = 0u64;
    for name in names {
        freed = freed.saturating_add(remove_entry(&folder.join(name), depth)?);
    }
    Ok(freed)
}

fn occupied(path: &Path, metadata: &Metadata) -> u64 {
    // A size that can't be asked for is not worth failing a removal.
    files::occupied(path).unwrap_or(metadata.len())
}

fn is_link_to_folder(metadata: &Metadata) -> bool {
    use std::os::windows::fs::FileTypeExt as _;
    metadata.file_type().is_symlink_dir()
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
