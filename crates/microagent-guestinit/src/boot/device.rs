//! Finding a disk: by node, by virtio serial, or by SCSI logical unit. Never by guess.
//!
//! A disk that is not there yet is waited for on the kernel's own announcements.
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door"
)]

use super::mounts::kernel_file;
use crate::clock::{Moment, timespec};
use microagent_wire::guest::boot_spec::DeviceSelector;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

/// What the kernel calls the first virtio disk.
const FIRST_DISK: &str = "vda";

/// A disk as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockDevice {
    /// Its node, `/dev/vda`.
    pub(crate) node: String,
    /// Its name in `/sys/class/block`, `vda`.
    pub(crate) name: String,
}

impl BlockDevice {
    fn named(name: &str) -> Self {
        Self {
            node: ["/dev/", name].concat(),
            name: name.to_owned(),
        }
    }

    /// Bytes of the whole device.
    pub(crate) fn size_bytes(&self) -> u64 {
        // The kernel counts in units of 512 bytes whatever the device's sectors are.
        let sectors = kernel_file(&["/sys/class/block/", &self.name, "/size"].concat());
        sectors.parse::<u64>().unwrap_or(0).saturating_mul(512)
    }
}

/// How a selector is named in an error.
pub(crate) fn describe(selector: &DeviceSelector) -> String {
    match selector {
        DeviceSelector::Path(path) => path.clone(),
        DeviceSelector::Serial(serial) => ["serial ", serial].concat(),
        DeviceSelector::Lun(lun) => ["lun ", &lun.to_string()].concat(),
    }
}

/// The disk, as soon as it is there; `None` when the time is up.
pub(super) fn wait_for(selector: &DeviceSelector, limit: Duration) -> Option<BlockDevice> {
    let sys_block = Path::new("/sys/block");
    if let Some(device) = find(selector, sys_block) {
        return Some(device);
    }
    let deadline = Moment::now().after(limit);
    let announcements = announcements().ok()?;
    loop {
        // Looked for after the socket was opened, so nothing falls between the two.
        if let Some(device) = find(selector, sys_block) {
            return Some(device);
        }
        let left = deadline.left();
        if left.is_zero() {
            return None;
        }
        let mut fds = [PollFd::new(&announcements, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&timespec(left)));
        // What is announced does not matter: everything is looked at again.
        let _ = recv(&announcements, &mut [0; 4096], RecvFlags::DONTWAIT);
    }
}

fn announcements() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(KOBJECT_UEVENT),
    )?;
    const FROM_KERNEL: u32 = 1;
    bind(&socket, &SocketAddrNetlink::new(0, FROM_KERNEL))?;
    Ok(socket)
}

fn find(selector: &DeviceSelector, sys_block: &Path) -> Option<BlockDevice> {
    let device = match selector {
        DeviceSelector::Path(path) => BlockDevice {
            node: path.clone(),
            name: path.rsplit('/').next()?.to_owned(),
        },
        DeviceSelector::Serial(serial) => BlockDevice::named(&by_serial(serial, sys_block)?),
        DeviceSelector::Lun(lun) => BlockDevice::named(&by_lun(*lun, sys_block)?),
    };
    let metadata = fs::metadata(&device.node).ok()?;
    metadata.file_type().is_block_device().then_some(device)
}

fn block_names(sys_block: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(sys_block)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn by_serial(serial: &str, sys_block: &Path) -> Option<String> {
    let has_it = |name: &String| {
        let file = sys_block.join(name).join("serial");
        file.to_str()
            .is_some_and(|file| kernel_file(file) == serial)
    };
    // The root disk is the first one nearly always, and a list of all costs more than a look.
    Some(FIRST_DISK.to_owned())
        .filter(has_it)
        .or_else(|| block_names(sys_block).find(has_it))
}

fn by_lun(lun: u32, sys_block: &Path) -> Option<String> {
    block_names(sys_block).find(|name| {
        let link = fs::read_link(sys_block.join(name).join("device")).ok();
        let address = link
            .as_deref()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        address.and_then(lun_of) == Some(lun)
    })
}

/// The logical unit of a SCSI address `host:channel:target:lun`.
fn lun_of(address: &str) -> Option<u32> {
    let mut fields = address.split(':');
    let lun = fields.nth(3)?.parse().ok()?;
    fields.next().is_none().then_some(lun)
}

#[cfg(test)]
mod tests {
    use super::{by_lun, by_serial, lun_of};
    use std::os::unix::fs::symlink;

    #[test]
    fn disks_are_told_apart_by_serial_and_by_unit() {
        let sys = tempfile::tempdir().unwrap();
        let disk = |name: &str, serial: Option<&str>, device: Option<&str>| {
            let folder = sys.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if let Some(serial) = serial {
                std::fs::write(folder.join("serial"), format!("{serial}\n")).unwrap();
            }
            if let Some(device) = device {
                symlink(device, folder.join("device")).unwrap();
            }
        };
        disk("loop0", None, None);
        disk("vda", Some("ma-root"), Some("../../../virtio0"));
        disk("vdb", Some("ma-root2"), None);
        disk("sda", None, Some("../../../0:0:0:2"));
        disk("sdb", None, Some("../../../0:0:0:1"));
        assert_eq!(by_serial("ma-root", sys.path()).as_deref(), Some("vda"));
        assert_eq!(by_serial("ma-roo", sys.path()), None);
        assert_eq!(by_lun(1, sys.path()).as_deref(), Some("sdb"));
        assert_eq!(by_lun(2, sys.path()).as_deref(), Some("sda"));
        assert_eq!(by_lun(0, sys.path()), None);
    }

    #[test]
    fn only_a_full_address_has_a_unit() {
        assert_eq!(lun_of("0:0:0:7"), Some(7));
        for text in ["virtio0", "0:0:7", "0:0:0:7:1", "0:0:0:x", ""] {
            assert_eq!(lun_of(text), None, "{text}");
        }
    }
}
