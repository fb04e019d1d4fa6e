//! File calls that only Unix has, under names that the Windows sibling has too.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags};

pub(crate) use super::kernel::{
    create_fifo, create_unnamed, network_file_system, punch_hole, sync_folder,
};
use super::{FileIdentity, FileSystemSpace};

/// Permission bits of every file that we make.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Unit of `st_blocks`, whatever the file system's own block size is.
const STAT_BLOCK_BYTES: u64 = 512;

pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .mode(FILE_MODE)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// A file whose name is removed as soon as it is open.
pub(super) fn unnamed_by_removal(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!(".unnamed-{}", crate::random::hex_16()));
    let file = private_options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // A file system without the flag: a hard link refuses a taken name just as atomically.
            rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            std::fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn link_symbolic(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

pub(crate) fn allocated_bytes(path: &Path) -> io::Result<u64> {
    std::fs::metadata(path).map(|metadata| metadata.blocks().saturating_mul(STAT_BLOCK_BYTES))
}

pub(crate) fn space(path: &Path) -> io::Result<FileSystemSpace> {
    let status = rustix::fs::statvfs(path)?;
    Ok(FileSystemSpace {
        available_bytes: status.f_bavail.saturating_mul(status.f_frsize),
        total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
    })
}

pub(crate) fn identity_of_file(file: &File) -> io::Result<FileIdentity> {
    file.metadata().map(|metadata| identity(&metadata))
}

pub(crate) fn identity_of_path(path: &Path) -> io::Result<FileIdentity> {
    std::fs::metadata(path).map(|metadata| identity(&metadata))
}

fn identity(metadata: &Metadata) -> FileIdentity {
    FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    file.read_exact_at(buffer, position)
}

pub(crate) fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    file.read_at(buffer, position)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(bytes, position)
}
