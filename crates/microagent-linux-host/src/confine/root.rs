//! A root that holds only the VMM's own files. Calls only, in a mount namespace of the caller's own.
//!
//! Everything is put together on a small file system in memory, which then becomes the root and
//! can't be written any more; the host's root is let go of, so no path leads back.

use std::io;
use std::path::{Path, PathBuf};

use microagent_os::dirs;
use microagent_os::fs;
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::message::{Entry, EntryKind, Setup};

/// Empty files and folders need little.
const ROOT_OPTIONS: &std::ffi::CStr = c"size=1m,mode=0700";

/// A step that did not work.
#[derive(Debug, thiserror::Error)]
#[error("{step} `{}`: {source}", path.display())]
pub(super) struct RootError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(step: &'static str, path: &Path, source: impl Into<io::Error>) -> RootError {
    RootError {
        step,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Puts the root together and changes to it. The working folder is the root afterwards.
pub(super) fn enter(setup: &Setup) -> Result<(), RootError> {
    let root = &setup.mount_point;
    let slash = Path::new("/");
    // Nothing that is mounted here may show on the host.
    rustix::mount::mount_change(
        slash,
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|error| failed("making private", slash, error))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"tmpfs", root, c"tmpfs", flags, ROOT_OPTIONS)
        .map_err(|error| failed("mounting", root, error))?;
    for entry in &setup.entries {
        place(root, entry)?;
    }
    rustix::mount::mount_remount(root, MountFlags::BIND | MountFlags::RDONLY | flags, c"")
        .map_err(|error| failed("closing", root, error))?;
    change_to(root)
}

fn change_to(root: &Path) -> Result<(), RootError> {
    rustix::process::chdir(root).map_err(|error| failed("entering", root, error))?;
    // The old root lands on top of the new one, and is taken away from there.
    rustix::process::pivot_root(".", ".").map_err(|error| failed("changing to", root, error))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .map_err(|error| failed("letting go of", Path::new("/"), error))?;
    rustix::process::chdir("/").map_err(|error| failed("entering", Path::new("/"), error))
}

fn place(root: &Path, entry: &Entry) -> Result<(), RootError> {
    let target = inside(root, &entry.target);
    if let Some(folder) = target.parent() {
        dirs::ensure_private_all(folder).map_err(|error| failed("making", folder, error))?;
    }
    match entry.kind {
        EntryKind::Link => fs::link_symbolic(&entry.source, &target)
            .map_err(|error| failed("linking", &target, error)),
        EntryKind::Mask => mask(root, &target),
        // What is mounted in a folder of programs comes along: the kernel refuses to show it without.
        EntryKind::ReadOnly => {
            make(&entry.source, &target)?;
            rustix::mount::mount_bind_recursive(&entry.source, &target)
                .map_err(|error| failed("binding", &entry.source, error))?;
            restrict(&target, MountFlags::RDONLY | MountFlags::NODEV)
        }
        // The run folder must not bring along the root that is being made in it.
        EntryKind::ReadWrite => {
            bind(&entry.source, &target)?;
            restrict(&target, MountFlags::NODEV)
        }
        EntryKind::Device => {
            bind(&entry.source, &target)?;
            restrict(&target, MountFlags::NOEXEC)
        }
    }
}

fn inside(root: &Path, target: &Path) -> PathBuf {
    root.join(target.strip_prefix("/").unwrap_or(target))
}

fn make(source: &Path, target: &Path) -> Result<(), RootError> {
    let made = if fs::is_folder(source) {
        dirs::ensure_private_all(target)
    } else {
        fs::create_new(target).map(drop)
    };
    made.map_err(|error| failed("making", target, error))
}

fn bind(source: &Path, target: &Path) -> Result<(), RootError> {
    make(source, target)?;
    rustix::mount::mount_bind(source, target).map_err(|error| failed("binding", source, error))
}

fn restrict(target: &Path, flags: MountFlags) -> Result<(), RootError> {
    // What the host has denied there must be denied again, or the kernel refuses.
    let kept = denials(target).map_err(|error| failed("inspecting", target, error))?;
    rustix::mount::mount_remount(
        target,
        MountFlags::BIND | MountFlags::NOSUID | flags | kept,
        c"",
    )
    .map_err(|error| failed("restricting", target, error))
}

fn denials(path: &Path) -> io::Result<MountFlags> {
    let status = rustix::fs::statvfs(path)?;
    let rows = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    Ok(rows
        .into_iter()
        .filter(|(shown, _)| status.f_flag.contains(*shown))
        .fold(MountFlags::empty(), |flags, (_, flag)| flags | flag))
}

/// An empty file of the root's own over whatever is there.
fn mask(root: &Path, target: &Path) -> Result<(), RootError> {
    if !fs::is_present(target) {
        return Ok(());
    }
    let empty = root.join("empty");
    if !fs::is_present(&empty) {
        fs::create_new(&empty).map_err(|error| failed("making", &empty, error))?;
    }
    rustix::mount::mount_bind(&empty, target).map_err(|error| failed("masking", target, error))
}
