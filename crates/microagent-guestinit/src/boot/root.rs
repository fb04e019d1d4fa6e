//! The root disk becomes `/`, and PID 1 stays itself.
//!
//! The initramfs can't be left by `pivot_root`; the disk is mounted in it and moved over it. Guest init
//! keeps a descriptor of the old root: at the end it goes back there, and the disk can be unmounted.

use super::device::BlockDevice;
use super::mounts::make_folder;
use microagent_wire::guest::boot_spec::DiskMode;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{chdir, chroot, fchdir};
use std::io;
use std::os::fd::OwnedFd;

const STAGING: &str = "/root-disk";

/// The root folder of the initramfs, empty but for mount points.
#[derive(Debug)]
pub(crate) struct InitramfsRoot(OwnedFd);

impl InitramfsRoot {
    /// Goes back: nothing of PID 1 is on the root disk then.
    pub(super) fn enter(&self) -> io::Result<()> {
        fchdir(&self.0)?;
        Ok(chroot(".")?)
    }
}

/// How a disk of this mode is mounted.
pub(super) fn mount_flags(mode: DiskMode) -> MountFlags {
    match mode {
        DiskMode::Rw => MountFlags::empty(),
        DiskMode::Ro => MountFlags::RDONLY,
    }
}

/// Mounts the disk beside everything; nothing is switched yet.
pub(super) fn mount_root(device: &BlockDevice, mode: DiskMode) -> io::Result<()> {
    make_folder(STAGING);
    Ok(mount(
        device.node.as_str(),
        STAGING,
        "ext4",
        mount_flags(mode),
        None,
    )?)
}

/// Moves the kernel's file systems over and makes the disk `/`.
pub(super) fn switch_root() -> io::Result<InitramfsRoot> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let initramfs = open("/", flags, Mode::empty())?;
    make_folder(&[STAGING, "/run"].concat());
    for folder in ["/proc", "/sys", "/dev"] {
        let target = [STAGING, folder].concat();
        make_folder(&target);
        mount_move(folder, target.as_str())?;
    }
    chdir(STAGING)?;
    mount_move(".", "/")?;
    chroot(".")?;
    chdir("/")?;
    Ok(InitramfsRoot(initramfs))
}
