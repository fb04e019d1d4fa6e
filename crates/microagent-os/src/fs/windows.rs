//! File calls that only Windows has, under names that the Unix sibling has too.
//!
//! Files get their permissions from their folder, which is closed to others (`dirs`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{FileIdentity, FileSystemSpace};
use crate::windows::files;

/// A link is opened itself and not what it leads to.
const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
/// Folders can be opened.
const BACKUP_SEMANTICS: u32 = 0x0200_0000;
/// Gone when it is closed.
const DELETE_ON_CLOSE: u32 = 0x0400_0000;

pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OPEN_REPARSE_POINT);
    options
}

pub(crate) fn create_unnamed(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(DELETE_ON_CLOSE)
        .open(folder.join(format!(".unnamed-{}", crate::random::hex_16())))
}

/// Holes are a property of the file here, which nothing of ours sets; zeros are written instead.
#[expect(clippy::unnecessary_wraps, reason = "the Linux sibling can fail")]
pub(crate) fn punch_hole(_file: &File, _position: u64, _length_bytes: u64) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    files::rename_new(from, to)
}

pub(crate) fn link_symbolic(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}

/// Pipes are not files here.
pub(crate) fn create_fifo(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The file system writes its names through a journal, and a folder can't be flushed by who has no
/// right to the volume.
#[expect(clippy::unnecessary_wraps, reason = "the Unix sibling can fail")]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn allocated_bytes(path: &Path) -> io::Result<u64> {
    files::occupied(path)
}

pub(crate) fn space(path: &Path) -> io::Result<FileSystemSpace> {
    let (available_bytes, total_bytes) = files::space(path)?;
    Ok(FileSystemSpace {
        available_bytes,
        total_bytes,
    })
}

pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    Ok(files::is_remote(path)?.then_some("network drive"))
}

pub(crate) fn identity_of_file(file: &File) -> io::Result<FileIdentity> {
    let (device, inode) = files::identity(file)?;
    Ok(FileIdentity { device, inode })
}

pub(crate) fn identity_of_path(path: &Path) -> io::Result<FileIdentity> {
    let file = OpenOptions::new()
        .access_mode(0)
        .custom_flags(BACKUP_SEMANTICS)
        .open(path)?;
    identity_of_file(&file)
}

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.seek_read(&mut buffer[done..], position + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(())
}

/// The end of the file is an error of the system here and 0 for the caller.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    file.seek_read(buffer, position)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_write(&bytes[done..], position + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}
