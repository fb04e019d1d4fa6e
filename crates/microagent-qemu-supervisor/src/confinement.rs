//! What QEMU sees when it is confined: its own files under names of their own.
//!
//! The same spec is used with and without a private root; only the paths differ. Pure but for the
//! look at the host's folders.

use std::path::{Path, PathBuf};

use microagent_linux_host::confine::message::Setup;
use microagent_linux_host::confine::observe;
use microagent_linux_host::confine::tree::{RUN, Tree, VmFile};
use microagent_linux_host::kvm::KVM_DEVICE;
use microagent_linux_host::vsock_unix::DEVICE_SOCKET;
use microagent_machine::Accelerator;
use microagent_os::fs::FileKind;
use microagent_os::{FsError, dirs, fs};
use microagent_supervisor::backend::{DiskAccess, LaunchSpec};
use microagent_types::AbsPath;

use crate::command_line::VHOST_SOCKET;

/// This program, also when an upgrade has replaced its file.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// The folder in the run folder on which the root is put together.
const JAIL: &str = "jail";
const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];

/// Makes the folder on which roots are put together. It stays empty as seen from the host.
pub(crate) fn make_mount_point(spec: &LaunchSpec) -> Result<(), FsError> {
    dirs::ensure_private(&mount_point(spec)).map(drop)
}

fn mount_point(spec: &LaunchSpec) -> PathBuf {
    spec.run.path.as_path().join(JAIL)
}

/// QEMU's root.
pub(crate) fn qemu_setup(spec: &LaunchSpec, qemu: &Path, accelerator: Accelerator) -> Setup {
    let kvm = (accelerator == Accelerator::Kvm).then_some(KVM_DEVICE);
    setup(spec, qemu, files(spec), kvm, |name| name == VHOST_SOCKET)
}

/// The vsock device's root: no file of the VM.
pub(crate) fn vsock_device_setup(spec: &LaunchSpec, program: &Path) -> Setup {
    // It makes its two sockets and connects to the guest's ports, which are named after the first.
    setup(spec, program, Vec::new(), None, |name| {
        name.starts_with(DEVICE_SOCKET)
    })
}

fn setup(
    spec: &LaunchSpec,
    program: &Path,
    files: Vec<VmFile>,
    device: Option<&'static str>,
    needs_socket: impl Fn(&str) -> bool,
) -> Setup {
    let run_folder = spec.run.path.as_path();
    let tree = Tree {
        system: observe::system_folders(&[program]),
        files,
        run_folder: run_folder.to_owned(),
        masked: foreign_sockets(run_folder, needs_socket),
        devices: DEVICES
            .into_iter()
            .chain(device)
            .map(PathBuf::from)
            .collect(),
    };
    Setup {
        mount_point: mount_point(spec),
        entries: tree.entries(),
    }
}

/// Sockets in the run folder that a broken program must neither reach nor replace: the monitor's
/// own, and whatever else is there that this one does not need.
fn foreign_sockets(run_folder: &Path, needs_socket: impl Fn(&str) -> bool) -> Vec<String> {
    let names = fs::list(run_folder).unwrap_or_default();
    names
        .into_iter()
        .filter(|entry| entry.kind == FileKind::Other)
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| !needs_socket(name))
        .collect()
}

fn files(spec: &LaunchSpec) -> Vec<VmFile> {
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
    }
    files
}

/// The spec as QEMU sees it from its root.
pub(crate) fn seen_from_inside(spec: &LaunchSpec) -> LaunchSpec {
    let mut inside = spec.clone();
    let mut paths = files(spec).into_iter().map(|file| {
        AbsPath::try_from(file.inside().as_path()).expect("names inside are short and plain")
    });
    let disks = std::iter::once(&mut inside.root_disk.path)
        .chain(inside.disks.iter_mut().map(|disk| &mut disk.path));
    for place in [&mut inside.kernel, &mut inside.initramfs]
        .into_iter()
        .chain(disks)
    {
        *place = paths.next().expect("both sides list the same files");
    }
    inside
}

/// The working folder of whatever runs in the root.
pub(crate) fn working_folder_inside() -> PathBuf {
    PathBuf::from(RUN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::sample::{data_disks, spec};
    use microagent_linux_host::confine::message::EntryKind;
    use microagent_os::local_socket;
    use microagent_types::Arch;

    #[test]
    fn every_path_that_qemu_gets_is_in_its_root() {
        let mut spec = spec(Arch::Amd64);
        spec.disks = data_disks();
        let setup = qemu_setup(&spec, Path::new("/usr/bin/qemu"), Accelerator::Kvm);
        let inside = seen_from_inside(&spec);
        let disks = inside.disks.iter().map(|disk| &disk.path);
        let paths = [&inside.kernel, &inside.initramfs, &inside.root_disk.path];
        for path in paths.into_iter().chain(disks) {
            let entry = setup
                .entries
                .iter()
                .find(|entry| entry.target == path.as_path());
            assert!(entry.is_some(), "`{path}` is not there");
        }
        let targets: Vec<_> = setup.entries.iter().map(|entry| &entry.target).collect();
        assert!(targets.contains(&&PathBuf::from("/dev/kvm")));
        assert_eq!(inside.disks[1].access, DiskAccess::ReadOnly);
    }

    #[test]
    fn an_emulated_machine_and_the_vsock_device_do_not_see_kvm() {
        let spec = spec(Arch::Amd64);
        let emulated = qemu_setup(&spec, Path::new("/usr/bin/qemu"), Accelerator::Emulation);
        let device = vsock_device_setup(&spec, Path::new("/usr/bin/device"));
        for setup in [emulated, device] {
            let kvm = setup
                .entries
                .iter()
                .any(|entry| entry.target == Path::new("/dev/kvm"));
            assert!(!kvm);
        }
    }

    #[test]
    fn sockets_that_a_program_does_not_need_are_covered() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().to_str().unwrap();
        let mut spec = spec(Arch::Amd64);
        spec.run.path = run.parse().unwrap();
        let names = ["control", "vsock.sock_1024", "vhost.sock"];
        let listeners = names.map(|name| local_socket::listen(&folder.path().join(name)).unwrap());
        let covered = |setup: Setup| {
            let mut covered: Vec<String> = setup
                .entries
                .iter()
                .filter(|entry| entry.kind == EntryKind::Mask)
                .map(|entry| entry.target.display().to_string())
                .collect();
            covered.sort();
            covered
        };
        let program = Path::new("/usr/bin/program");
        assert_eq!(
            covered(qemu_setup(&spec, program, Accelerator::Emulation)),
            ["/run/control", "/run/vsock.sock_1024"]
        );
        assert_eq!(
            covered(vsock_device_setup(&spec, program)),
            ["/run/control", "/run/vhost.sock"]
        );
        drop(listeners);
    }
}
