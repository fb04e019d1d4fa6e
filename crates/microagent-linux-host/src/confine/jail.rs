//! What a confined program sees of one boot: its own files under names of their own.
//!
//! The same spec is used with and without a private root; only the paths differ. What is particular
//! to a VMM (its program, its devices, the sockets that it needs) comes in.

use std::path::{Path, PathBuf};

use microagent_os::fs::FileKind;
use microagent_os::{FsError, dirs, fs};
use microagent_supervisor::backend::{DiskAccess, LaunchSpec};
use microagent_types::AbsPath;

use super::message::Setup;
use super::tree::{RUN, SystemFolder, Tree, VmFile};

/// This program, also when an upgrade has replaced its file.
pub const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// The folder in the run folder on which the root is put together.
const JAIL: &str = "jail";

/// What is particular to a program.
#[derive(Debug)]
pub struct Inmate<'a> {
    /// What it needs of the system to be executed.
    pub system: Vec<SystemFolder>,
    /// The VM's files, for a VMM.
    pub files: Vec<VmFile>,
    /// Devices of the host.
    pub devices: &'a [&'a str],
    /// Whether it needs this socket or pipe of the run folder.
    pub needs: fn(&str) -> bool,
}

/// Makes the folder on which roots are put together. It stays empty as seen from the host.
pub fn make_mount_point(spec: &LaunchSpec) -> Result<(), FsError> {
    dirs::ensure_private(&mount_point(spec)).map(drop)
}

fn mount_point(spec: &LaunchSpec) -> PathBuf {
    spec.run.path.as_path().join(JAIL)
}

/// The root of a program.
pub fn setup(spec: &LaunchSpec, inmate: Inmate<'_>) -> Setup {
    let run_folder = spec.run.path.as_path();
    let tree = Tree {
        system: inmate.system,
        files: inmate.files,
        run_folder: run_folder.to_owned(),
        masked: foreign_sockets(run_folder, inmate.needs),
        devices: inmate.devices.iter().map(PathBuf::from).collect(),
    };
    Setup {
        mount_point: mount_point(spec),
        entries: tree.entries(),
        tap: false,
    }
}

/// Sockets in the run folder that a broken program must neither reach nor replace: the monitor's
/// own, and whatever else is there that this one does not need.
fn foreign_sockets(run_folder: &Path, needs: fn(&str) -> bool) -> Vec<String> {
    let names = fs::list(run_folder).unwrap_or_default();
    names
        .into_iter()
        .filter(|entry| entry.kind == FileKind::Other)
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| !needs(name))
        .collect()
}

/// Kernel, initramfs and disks.
pub fn vm_files(spec: &LaunchSpec) -> Vec<VmFile> {
    let file = |source: &AbsPath, name: String, writable| VmFile {
        source: source.as_path().to_owned(),
        name,
        writable,
    };
    let mut files = vec![
        file(&spec.kernel, "kernel".to_owned(), false),
        file(&spec.initramfs, "initramfs".to_owned(), false),
    ];
    let disks = std::iter::once(&spec.root_disk).chain(&spec.disks);
    for (index, disk) in disks.enumerate() {
        let writable = disk.access == DiskAccess::ReadWrite;
        files.push(file(&disk.path, format!("disk{index}"), writable));
        if let Some(base) = &disk.base {
            files.push(file(base, format!("base{index}"), false));
        }
    }
    files
}

/// The spec as a VMM sees it from its root.
pub fn seen_from_inside(spec: &LaunchSpec) -> LaunchSpec {
    let mut inside = spec.clone();
    let mut paths = vm_files(spec).into_iter().map(|file| {
        AbsPath::try_from(file.inside().as_path()).expect("names inside are short and plain")
    });
    let disks = std::iter::once(&mut inside.root_disk)
        .chain(&mut inside.disks)
        .flat_map(|disk| std::iter::once(&mut disk.path).chain(&mut disk.base));
    for place in [&mut inside.kernel, &mut inside.initramfs]
        .into_iter()
        .chain(disks)
    {
        *place = paths.next().expect("both sides list the same files");
    }
    inside
}

/// The working folder of whatever runs in the root.
pub fn working_folder_inside() -> PathBuf {
    PathBuf::from(RUN)
}
