//! The data disks.
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door"
)]

use super::device::{describe, wait_for};
use super::root::mount_flags;
use microagent_wire::guest::boot_spec::DataDisk;
use rustix::mount::mount;
use std::fs;
use std::io;
use std::time::Duration;

/// Waits for the disk and mounts it; a missing mount point is made.
pub(super) fn mount_disk(disk: &DataDisk, limit: Duration) -> io::Result<()> {
    let device = wait_for(&disk.device, limit).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            ["no disk ", &describe(&disk.device)].concat(),
        )
    })?;
    let target = disk.mount.as_str();
    if let Err(error) = fs::create_dir_all(target)
        && !fs::metadata(target).is_ok_and(|metadata| metadata.is_dir())
    {
        return Err(error);
    }
    Ok(mount(
        device.node.as_str(),
        target,
        "ext4",
        mount_flags(disk.mode),
        None,
    )?)
}
