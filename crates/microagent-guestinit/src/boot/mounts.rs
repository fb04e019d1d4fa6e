//! The kernel's own file systems, and the few files of theirs that guest init reads and writes.
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door"
)]

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, mount};
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

/// Most bytes read of a file of the kernel's.
const KERNEL_FILE_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 1024;

const QUIET: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

const SHARED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Makes the mount point and mounts; both may already be there.
fn mount_at(what: &CStr, at: &str, flags: MountFlags, options: Option<&CStr>) -> io::Result<()> {
    make_folder(at);
    match mount(what, at, what, flags, options) {
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes one folder; a failure shows at its use.
pub(super) fn make_folder(path: &str) {
    use rustix::fs::mkdir;
    let _ = mkdir(path, Mode::from_raw_mode(0o755));
}

/// `/proc`: who we are and how the VM ends stands in it.
pub(super) fn proc() -> io::Result<()> {
    mount_at(c"proc", "/proc", QUIET, None)
}

/// `/sys` and `/dev`: disks are found in them.
pub(super) fn devices() -> io::Result<()> {
    mount_at(c"sysfs", "/sys", QUIET, None)?;
    mount_at(c"devtmpfs", "/dev", MountFlags::NOSUID, Some(c"mode=0755"))
}

/// What may be written to when the image is not: guest init's own files lie in it too.
pub(super) fn run() -> io::Result<()> {
    mount_at(c"tmpfs", "/run", SHARED, Some(c"mode=0755"))
}

/// What only processes need, mounted in the guest's own root.
pub(super) fn devices_of_processes() -> io::Result<()> {
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_at(
        c"devpts",
        "/dev/pts",
        no_exec,
        Some(c"gid=5,mode=620,ptmxmode=666"),
    )?;
    mount_at(c"tmpfs", "/dev/shm", SHARED, Some(c"mode=1777"))?;
    mount_at(c"cgroup2", "/sys/fs/cgroup", QUIET, None)?;
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ];
    for (name, target) in links {
        let _ = rustix::fs::symlink(target, ["/dev/", name].concat());
    }
    Ok(())
}

/// A file of the kernel's, without the line end; empty when it can't be read.
pub(super) fn kernel_file(path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let read = open(path, flags, Mode::empty()).and_then(|file| read_whole(&file));
    let mut text = String::from_utf8(read.unwrap_or_default()).unwrap_or_default();
    text.truncate(text.trim_end().len());
    text
}

/// Reads to the end, without asking for a size, which no file of the kernel's has.
fn read_whole(file: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < KERNEL_FILE_BYTES_MAX {
        let at = bytes.len();
        bytes.resize(at + READ_BYTES, 0);
        let count = rustix::io::read(file, &mut bytes[at..])?;
        bytes.truncate(at + count);
        if count == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// Sets a value of the kernel's. Values that it refuses stay as they are: none is needed to boot.
pub(super) fn set_kernel_value(path: &str, value: &str) {
    let _ = fs::write(path, value);
}

/// `MemAvailable`; 0 when the kernel does not say.
pub(crate) fn memory_available_bytes() -> u64 {
    mem_available(&kernel_file("/proc/meminfo"))
}

fn mem_available(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::mem_available;

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(
            mem_available("MemTotal:  10 kB\nMemAvailable:    2048 kB\n"),
            2_097_152
        );
        assert_eq!(mem_available("MemTotal:  10 kB\n"), 0);
    }
}
