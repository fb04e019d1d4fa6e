//! File calls that only Linux has; the macOS sibling has the same names.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use super::unix::{FILE_MODE, unnamed_by_removal};

pub(crate) fn create_unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::from_raw_mode(FILE_MODE)) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => unnamed_by_removal(folder),
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
