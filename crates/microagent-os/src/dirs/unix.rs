//! Folder permissions as Unix has them.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::PrivateFolderError;
use crate::error::{FsAction, FsError};

const FOLDER_MODE: u32 = 0o700;
const PERMISSIONS_OF_OTHERS: u32 = 0o077;

pub(super) fn create_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(FOLDER_MODE).create(path)
}

pub(super) fn close_to_others(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
    Ok(rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o700))?)
}

pub(super) fn check_private(path: &Path) -> Result<(), PrivateFolderError> {
    let metadata = std::fs::symlink_metadata(path)
        .map_err(|error| FsError::new(FsAction::Inspect, path, error))?;
    let path = path.to_owned();
    if !metadata.is_dir() {
        Err(PrivateFolderError::NotAFolder { path })
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Err(PrivateFolderError::ForeignOwner { path })
    } else if metadata.mode() & PERMISSIONS_OF_OTHERS != 0 {
        Err(PrivateFolderError::OpenToOthers {
            path,
            mode: metadata.mode() & 0o7777,
        })
    } else {
        Ok(())
    }
}
