//! What is QEMU's own about its confinement: its program, its devices, its socket. The rest, which
//! it shares with other VMMs, is in `linux-host`.

use std::path::Path;

use microagent_linux_host::confine::jail::{self, Inmate};
use microagent_linux_host::confine::message::Setup;
use microagent_linux_host::confine::observe::system_folders;
use microagent_linux_host::kvm::KVM_DEVICE;
use microagent_linux_host::vsock_unix::DEVICE_SOCKET;
use microagent_machine::Accelerator;
use microagent_supervisor::backend::LaunchSpec;

use crate::command_line::VHOST_SOCKET;

const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];
const DEVICES_AND_KVM: [&str; 3] = ["/dev/null", "/dev/urandom", KVM_DEVICE];

/// QEMU's root.
pub(crate) fn qemu_setup(spec: &LaunchSpec, qemu: &Path, accelerator: Accelerator) -> Setup {
    let devices: &[&str] = if accelerator == Accelerator::Kvm {
        &DEVICES_AND_KVM
    } else {
        &DEVICES
    };
    let inmate = Inmate {
        system: system_folders(&[qemu]),
        files: jail::vm_files(spec),
        devices,
        needs: |name| name == VHOST_SOCKET,
    };
    jail::setup(spec, inmate)
}

/// The vsock device's root: no file of the VM.
pub(crate) fn vsock_device_setup(spec: &LaunchSpec, program: &Path) -> Setup {
    let inmate = Inmate {
        system: system_folders(&[program]),
        files: Vec::new(),
        devices: &DEVICES,
        // It makes its two sockets and connects to the guest's ports, which are named after the first.
        needs: |name| name.starts_with(DEVICE_SOCKET),
    };
    jail::setup(spec, inmate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::sample::{data_disks, spec};
    use microagent_linux_host::confine::jail::seen_from_inside;
    use microagent_linux_host::confine::message::EntryKind;
    use microagent_os::local_socket;
    use microagent_supervisor::backend::DiskAccess;
    use microagent_types::Arch;
    use std::path::PathBuf;

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
