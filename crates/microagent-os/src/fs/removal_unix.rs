//! Removal by descriptor.
//!
//! A recursive removal by path can be led anywhere by whoever swaps a folder for a link while it
//! runs. Here every step is relative to an open folder, links are removed and never entered, and
//! a folder on another device is refused before anything in it is touched.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::error::{FsAction, FsError};

/// Folders inside folders that one removal descends into.
const DEPTH_MAX: usize = 1024;
const STAT_BLOCK_BYTES: u64 = 512;
const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

pub(super) fn remove_tree(path: &Path) -> Result<u64, FsError> {
    let fail = |error: io::Error| FsError::new(FsAction::Remove, path, error);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fail(io::Error::from(io::ErrorKind::InvalidInput)));
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let name = CString::new(name.as_bytes()).map_err(|error| fail(error.into()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        Err(error) => return Err(fail(error.into())),
    };
    let device = device_of(&folder).map_err(fail)?;
    remove_entry(&folder, &name, device, 0).map_err(fail)
}

pub(super) fn empty_folder(path: &Path) -> Result<u64, FsError> {
    let fail = |error: io::Error| FsError::new(FsAction::Remove, path, error);
    let folder = match rustix::fs::open(path, FOLDER_FLAGS, Mode::empty()) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        Err(error) => return Err(fail(error.into())),
    };
    let device = device_of(&folder).map_err(fail)?;
    remove_children(&folder, device, 0).map_err(fail)
}

fn device_of(folder: impl AsFd) -> io::Result<u64> {
    Ok(number_of(rustix::fs::fstat(folder)?.st_dev))
}

fn remove_entry(folder: &OwnedFd, name: &CStr, device: u64, depth: usize) -> io::Result<u64> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!(
            "more than {DEPTH_MAX} folders inside each other"
        )));
    }
    let status = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => status,
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    // Bytes shared with another name stay occupied.
    let occupied = if status.st_nlink <= 1 {
        bytes_of(status.st_blocks)
    } else {
        0
    };
    if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
        return match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) => Ok(occupied),
            Err(rustix::io::Errno::NOENT) => Ok(0),
            Err(error) => Err(error.into()),
        };
    }
    let child = rustix::fs::openat(folder, name, FOLDER_FLAGS, Mode::empty())?;
    // Only folders are compared: an overlay file system shows files with the device of their layer.
    // A file that is a mount point is refused by the kernel.
    if device_of(&child)? != device {
        return Err(io::Error::new(
            io::ErrorKind::CrossesDevices,
            format!("`{}` is a mount", name.to_string_lossy()),
        ));
    }
    let freed = remove_children(&child, device, depth + 1)?;
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {
            Ok(freed.saturating_add(bytes_of(status.st_blocks)))
        }
        Err(error) => Err(error.into()),
    }
}

fn remove_children(folder: &OwnedFd, device: u64, depth: usize) -> io::Result<u64> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
        if names.len() > super::FOLDER_ENTRIES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
    }
    let mut freed = 0u64;
    for name in names {
        freed = freed.saturating_add(remove_entry(folder, &name, device, depth)?);
    }
    Ok(freed)
}

fn bytes_of(blocks: impl TryInto<u64>) -> u64 {
    number_of(blocks).saturating_mul(STAT_BLOCK_BYTES)
}

/// Kernels disagree about the width of these numbers.
fn number_of(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(0)
}
