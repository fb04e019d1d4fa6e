//! File calls that only Unix has, under names that the Windows sibling has too.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

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

pub(crate) fn create_unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::from_raw_mode(FILE_MODE)) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let path = folder.join(format!(".unnamed-{}", crate::random::hex_16()));
            let file = private_options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

/// False where the file system has no holes.
pub(crate) fn punch_hole(file: &File, position: u64, length_bytes: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};

    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, flags, position, length_bytes) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
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

pub(crate) fn create_fifo(path: &Path) -> io::Result<()> {
    let mode = Mode::from_raw_mode(FILE_MODE);
    Ok(rustix::fs::mknodat(
        CWD,
        path,
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )?)
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(folder, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(&descriptor)?)
}

pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.blocks().saturating_mul(STAT_BLOCK_BYTES)
}

pub(crate) fn space(path: &Path) -> io::Result<FileSystemSpace> {
    let status = rustix::fs::statvfs(path)?;
    Ok(FileSystemSpace {
        available_bytes: status.f_bavail.saturating_mul(status.f_frsize),
        total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
    })
}

pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let status = rustix::fs::statfs(path)?;
    // The magic numbers of linux/magic.h and of the file systems themselves.
    Ok(match status.f_type & 0xffff_ffff {
        0x6969 => Some("nfs"),
        0xff53_4d42 => Some("cifs"),
        0xfe53_4d42 => Some("smb2"),
        0x517b => Some("smb"),
        0x00c3_6400 => Some("ceph"),
        0x5346_414f | 0x6b41_4653 => Some("afs"),
        0x7375_7245 => Some("coda"),
        0x0bd0_0bd0 => Some("lustre"),
        0x0161_1970 => Some("gfs2"),
        0x7461_636f => Some("ocfs2"),
        _ => None,
    })
}

pub(crate) fn identity(metadata: &Metadata) -> FileIdentity {
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
