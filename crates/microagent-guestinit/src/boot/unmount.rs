//! The last act on the disks: unmounted where that goes, else read-only.
//!
//! Which mounts there are is read from the kernel, since programs of the guest mount things too.

use super::mounts::kernel_file;
use super::root::InitramfsRoot;
use crate::clock::Moment;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use std::time::Duration;

/// How long a disk may stay busy after the last process was killed: a mount namespace goes a moment
/// after its last process.
const BUSY_LIMIT: Duration = Duration::from_millis(500);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// One mount of this namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    at: String,
    /// On a block device, so there is something to lose.
    is_disk: bool,
}

/// What a guest's mounts are, oldest first.
fn mounted(mountinfo: &str) -> Vec<Mounted> {
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let device = fields.nth(2)?;
        let at = unescape(fields.nth(1)?);
        Some(Mounted {
            at,
            is_disk: !device.starts_with("0:"),
        })
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// Undoes the kernel's `\040` for characters that would break a line.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (byte, octal) {
            (b'\\', Some(value)) => {
                bytes.push(value);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Unmounts everything, newest first and the root last. False when a disk could be neither unmounted
/// nor made read-only.
pub(crate) fn unmount_all(initramfs: Option<&InitramfsRoot>) -> bool {
    let mut is_clean = true;
    let mounts = mounted(&kernel_file("/proc/self/mountinfo"));
    for mount in mounts.iter().rev().filter(|mount| mount.at != "/") {
        if mount.is_disk {
            is_clean &= settle(&mount.at);
        }
        // Whatever is left here must not hold what lies beneath.
        let _ = unmount(mount.at.as_str(), UnmountFlags::DETACH);
    }
    if let Some(initramfs) = initramfs {
        // Seen from the old root, the new one lies over it; `..` of the root is the topmost mount.
        is_clean &= initramfs.enter().is_ok() && settle("/..");
    }
    is_clean
}

/// Unmounts a disk, or makes it read-only.
fn settle(at: &str) -> bool {
    let deadline = Moment::now().after(BUSY_LIMIT);
    loop {
        match unmount(at, UnmountFlags::empty()) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => return true,
            Err(Errno::BUSY) if !deadline.has_passed() => crate::vsock::pause(BUSY_PAUSE),
            Err(_) => return mount_remount(at, MountFlags::RDONLY, c"").is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mounted, mounted, unescape};

    #[test]
    fn disks_are_told_from_what_the_kernel_makes_up() {
        let text = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    23 22 0:21 / /proc rw - proc proc rw\n\
                    30 22 8:0 / /mnt/my\\040disk rw - ext4 /dev/sda rw\n\
                    torn";
        let disk = |at: &str, is_disk| Mounted {
            at: at.to_owned(),
            is_disk,
        };
        assert_eq!(
            mounted(text),
            [
                disk("/", true),
                disk("/proc", false),
                disk("/mnt/my disk", true)
            ]
        );
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        assert_eq!(unescape(r"a\011b\134"), "a\tb\\");
        assert_eq!(unescape(r"a\9\04"), r"a\9\04");
    }
}
