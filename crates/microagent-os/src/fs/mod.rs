//! Files by path: bounded reads, files born 0600, renames, removal, and what a file system says
//! about itself.
//!
//! The trouble it removes: a reader that takes whatever length a hostile file has, a file that is
//! readable by others between its birth and its `chmod`, and a removal that follows a link out of
//! the tree it was to remove. It must not decide what a file means.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::error::{FsAction, FsError};

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod kernel;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod kernel;
#[cfg(unix)]
#[path = "removal_unix.rs"]
mod removal;
#[cfg(windows)]
#[path = "removal_windows.rs"]
mod removal;
#[cfg(unix)]
pub(crate) mod unix;
#[cfg(windows)]
mod windows;
#[cfg(not(target_os = "linux"))]
#[path = "write_back_absent.rs"]
mod write_back;
#[cfg(target_os = "linux")]
#[path = "write_back_linux.rs"]
mod write_back;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// Entries that one listing returns before it gives up.
pub const FOLDER_ENTRIES_MAX: usize = 1_000_000;

/// Bytes that are reserved ahead of a read, whatever the file claims to hold.
const READ_RESERVE_BYTES_MAX: u64 = 1024 * 1024;

/// What kind of object a path names, itself and not what a link points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, pipe or device.
    Other,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    /// The name without its folder.
    pub name: OsString,
    /// What it names.
    pub kind: FileKind,
}

/// What makes a file the same file: two paths with equal identities name one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// Free and total room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemSpace {
    /// Bytes that this user may still write.
    pub available_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Opens an existing file for reading. Links are followed.
pub fn open(path: &Path) -> Result<File, FsError> {
    File::open(path).map_err(|error| FsError::new(FsAction::Open, path, error))
}

/// Opens an existing file for reading and writing.
pub fn open_read_write(path: &Path) -> Result<File, FsError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| FsError::new(FsAction::Open, path, error))
}

/// Opens an existing file for writing alone, as the kernel's switches want it.
pub fn open_write(path: &Path) -> Result<File, FsError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|error| FsError::new(FsAction::Open, path, error))
}

/// Opens a file for appending and reading; an absent one is made, 0600. A link is refused.
pub fn open_append(path: &Path) -> Result<File, FsError> {
    platform::private_options()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| FsError::new(FsAction::Open, path, error))
}

/// Opens a file for reading and writing and makes it, 0600, when it is absent. Its content stays.
/// A link is refused.
pub fn open_or_create(path: &Path) -> Result<File, FsError> {
    platform::private_options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| FsError::new(FsAction::Open, path, error))
}

/// Makes a new file, 0600, open for reading and writing. Anything that has the name already,
/// even a dangling link, is an error of kind `AlreadyExists`.
pub fn create_new(path: &Path) -> Result<File, FsError> {
    platform::private_options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| FsError::new(FsAction::Create, path, error))
}

/// A file without a name in `folder`, gone when it is closed, for spooling.
pub fn create_unnamed(folder: &Path) -> Result<File, FsError> {
    platform::create_unnamed(folder).map_err(|error| FsError::new(FsAction::Create, folder, error))
}

/// Reads a whole file of at most `limit_bytes`. A longer one is [`FsError::is_too_large`], found
/// without reading past the limit.
pub fn read_bounded(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FsError> {
    let mut file = open(path)?;
    read_open_file_bounded(&mut file, limit_bytes)
        .map_err(|error| FsError::new(FsAction::Read, path, error))
}

/// As [`read_bounded`], for text. Bytes that are not UTF-8 are an error of kind `InvalidData`.
pub fn read_text_bounded(path: &Path, limit_bytes: u64) -> Result<String, FsError> {
    String::from_utf8(read_bounded(path, limit_bytes)?).map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
        FsError::new(FsAction::Read, path, source)
    })
}

/// As [`read_bounded`], where an absent file is `None` and not an error.
pub fn read_bounded_if_present(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FsError> {
    match read_bounded(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_open_file_bounded(file: &mut File, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let claimed = file
        .metadata()?
        .len()
        .min(limit_bytes)
        .min(READ_RESERVE_BYTES_MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(claimed).unwrap_or(0));
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than the limit of {limit_bytes} bytes"),
        ));
    }
    Ok(bytes)
}

/// The attributes of what the path leads to, links followed.
pub fn metadata(path: &Path) -> Result<Metadata, FsError> {
    std::fs::metadata(path).map_err(|error| FsError::new(FsAction::Inspect, path, error))
}

/// What the path itself names; `None` when nothing is there.
pub fn kind_of(path: &Path) -> Result<Option<FileKind>, FsError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(kind_of_type(metadata.file_type()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FsError::new(FsAction::Inspect, path, error)),
    }
}

/// True when the path itself names something, a dangling link included; false also when the way
/// to it can't be searched.
pub fn is_present(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// True when the path leads to a regular file, links followed.
pub fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// True when the path leads to a folder, links followed.
pub fn is_folder(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// The absolute path without links. Every part must exist.
pub fn canonical(path: &Path) -> Result<std::path::PathBuf, FsError> {
    std::fs::canonicalize(path).map_err(|error| FsError::new(FsAction::Inspect, path, error))
}

fn kind_of_type(file_type: std::fs::FileType) -> FileKind {
    if file_type.is_file() {
        FileKind::File
    } else if file_type.is_dir() {
        FileKind::Folder
    } else if file_type.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

/// The names in a folder, sorted. More than [`FOLDER_ENTRIES_MAX`] are an error.
pub fn list(folder: &Path) -> Result<Vec<FolderEntry>, FsError> {
    let fail = |error| FsError::new(FsAction::List, folder, error);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entries.len() == FOLDER_ENTRIES_MAX {
            return Err(fail(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {FOLDER_ENTRIES_MAX} entries"),
            )));
        }
        let kind = match entry.file_type() {
            Ok(file_type) => kind_of_type(file_type),
            // The entry went away between listing and asking.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fail(error)),
        };
        entries.push(FolderEntry {
            name: entry.file_name(),
            kind,
        });
    }
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entries)
}

/// Renames within one file system, replacing what has the new name. Not durable until the folder
/// is synced.
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    std::fs::rename(from, to).map_err(|error| FsError::new(FsAction::Rename, to, error))
}

/// As [`rename`], but a name that is taken is an error of kind `AlreadyExists`.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), FsError> {
    platform::rename_new(from, to).map_err(|error| FsError::new(FsAction::Rename, to, error))
}

/// Removes a file, link or socket. True when there was one.
pub fn remove_file(path: &Path) -> Result<bool, FsError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FsError::new(FsAction::Remove, path, error)),
    }
}

/// Removes an empty folder. True when there was one.
pub fn remove_empty_folder(path: &Path) -> Result<bool, FsError> {
    match std::fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FsError::new(FsAction::Remove, path, error)),
    }
}

/// Removes what the path names with everything below it and returns the bytes that it occupied.
///
/// Works on descriptors: no link is followed, no mount is crossed (a mount below is an error and
/// stays). An absent path is zero bytes.
pub fn remove_tree(path: &Path) -> Result<u64, FsError> {
    removal::remove_tree(path)
}

/// As [`remove_tree`], for everything in a folder that itself stays.
pub fn empty_folder(path: &Path) -> Result<u64, FsError> {
    removal::empty_folder(path)
}

/// Makes a symbolic link.
pub fn link_symbolic(target: &Path, link: &Path) -> Result<(), FsError> {
    platform::link_symbolic(target, link).map_err(|error| FsError::new(FsAction::Link, link, error))
}

/// Makes a named pipe, 0600. A name that is taken is an error of kind `AlreadyExists`.
pub fn create_fifo(path: &Path) -> Result<(), FsError> {
    platform::create_fifo(path).map_err(|error| FsError::new(FsAction::Create, path, error))
}

/// Where a symbolic link points.
pub fn read_link(link: &Path) -> Result<std::path::PathBuf, FsError> {
    std::fs::read_link(link).map_err(|error| FsError::new(FsAction::Read, link, error))
}

/// Makes the names in a folder durable: what was created, renamed or removed in it.
pub fn sync_folder(folder: &Path) -> Result<(), FsError> {
    platform::sync_folder(folder).map_err(|error| FsError::new(FsAction::Sync, folder, error))
}

/// Makes the content of an open file durable.
pub fn sync_file(file: &File, path: &Path) -> Result<(), FsError> {
    file.sync_all()
        .map_err(|error| FsError::new(FsAction::Sync, path, error))
}

/// Sets the length of an open file; growth is a hole.
pub fn set_length(file: &File, path: &Path, length_bytes: u64) -> Result<(), FsError> {
    file.set_len(length_bytes)
        .map_err(|error| FsError::new(FsAction::Resize, path, error))
}

/// The bytes that a file occupies, holes not counted.
pub fn allocated_bytes(path: &Path) -> Result<u64, FsError> {
    platform::allocated_bytes(path).map_err(|error| FsError::new(FsAction::Inspect, path, error))
}

/// The room in the file system that holds `path`.
pub fn space(path: &Path) -> Result<FileSystemSpace, FsError> {
    platform::space(path).map_err(|error| FsError::new(FsAction::Inspect, path, error))
}

/// The name of the network file system that holds `path`, where it is recognised as one.
/// Locks and renames do not hold there.
pub fn network_file_system(path: &Path) -> Result<Option<&'static str>, FsError> {
    platform::network_file_system(path)
        .map_err(|error| FsError::new(FsAction::Inspect, path, error))
}

/// The identity of an open file.
pub fn identity_of_file(file: &File, path: &Path) -> Result<FileIdentity, FsError> {
    platform::identity_of_file(file).map_err(|error| FsError::new(FsAction::Inspect, path, error))
}

/// The identity of what a path leads to now; `None` when nothing is there.
pub fn identity_of_path(path: &Path) -> Result<Option<FileIdentity>, FsError> {
    match platform::identity_of_path(path) {
        Ok(identity) => Ok(Some(identity)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FsError::new(FsAction::Inspect, path, error)),
    }
}

/// Reads at a position until the buffer is full.
pub fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    platform::read_exact_at(file, buffer, position)
}

/// Reads at a position once; 0 at the end.
pub fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    platform::read_at(file, buffer, position)
}

/// Writes everything at a position.
pub fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    platform::write_all_at(file, bytes, position)
}

/// Has the system begin to bring a written range to the disk, so that [`sync_file`] has less to wait for.
///
/// A wish: nothing is durable behind it, it may wait for a full device, and a system without such a call
/// does nothing. What goes wrong is told by [`sync_file`].
pub fn begin_write_back(file: &File, position: u64, length_bytes: u64) {
    write_back::begin(file, position, length_bytes);
}

/// Makes a range zeros again and gives its storage back where the file system can.
///
/// The length of the file stays, unless the range reaches beyond its end.
pub fn clear_range(file: &File, position: u64, length_bytes: u64) -> io::Result<()> {
    if platform::punch_hole(file, position, length_bytes)? {
        return Ok(());
    }
    let zeros = vec![0; ZEROS_BYTES];
    let mut done = 0;
    while done < length_bytes {
        let now = (length_bytes - done).min(ZEROS_BYTES as u64);
        let part = usize::try_from(now).expect("at most the buffer");
        platform::write_all_at(file, &zeros[..part], position + done)?;
        done += now;
    }
    Ok(())
}

/// Zeros that are written at once where no hole can be made.
const ZEROS_BYTES: usize = 1 << 16;

#[cfg(test)]
mod tests;
