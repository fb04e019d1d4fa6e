//! What Firecracker sees when it is confined: its program, its VM's files, KVM, and its sockets.
//!
//! A release of Firecracker is one static file, and then nothing else of the host's system is in its
//! root. One that was built against the host's libraries gets those, read-only.

use std::path::Path;

use microagent_linux_host::confine::jail::{self, Inmate};
use microagent_linux_host::confine::message::Setup;
use microagent_linux_host::confine::observe;
use microagent_linux_host::confine::tree::SystemFolder;
use microagent_linux_host::kvm::KVM_DEVICE;
use microagent_os::fs;
use microagent_supervisor::backend::LaunchSpec;

use crate::config::{LOG_PIPE, VSOCK_SOCKET};
use crate::elf;

const DEVICES: [&str; 4] = ["/dev/null", "/dev/urandom", KVM_DEVICE, TUN_DEVICE];
const TUN_DEVICE: &str = "/dev/net/tun";
/// Headers of an executable are at its beginning.
const ELF_BYTES: usize = 4096;

/// Firecracker's root.
pub(crate) fn setup(spec: &LaunchSpec, program: &Path) -> Setup {
    // A host may have no tun; without a NIC there is no need of it.
    let devices = if spec.nic.is_some() {
        &DEVICES[..]
    } else {
        &DEVICES[..3]
    };
    let inmate = Inmate {
        system: system(program),
        files: jail::vm_files(spec),
        devices,
        needs: |name| name.starts_with(VSOCK_SOCKET) || name == LOG_PIPE,
    };
    Setup {
        tap: spec.nic.is_some(),
        ..jail::setup(spec, inmate)
    }
}

fn system(program: &Path) -> Vec<SystemFolder> {
    if is_static(program) {
        vec![SystemFolder::File(program.to_owned())]
    } else {
        observe::system_folders(&[program])
    }
}

fn is_static(program: &Path) -> bool {
    let mut head = [0u8; ELF_BYTES];
    let read = fs::open(program)
        .ok()
        .and_then(|file| fs::read_at(&file, &mut head, 0).ok());
    read.is_some_and(|read| elf::needs_no_interpreter(&head[..read]))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sample::{data_disks, spec};
    use microagent_linux_host::confine::message::EntryKind;

    fn targets(spec: &LaunchSpec) -> Vec<String> {
        let setup = setup(spec, Path::new("/opt/fc/firecracker"));
        let entries = setup.entries.iter();
        entries
            .map(|entry| entry.target.display().to_string())
            .collect()
    }

    #[test]
    fn every_path_that_firecracker_gets_is_in_its_root() {
        let mut spec = spec();
        spec.disks = data_disks();
        let targets = targets(&spec);
        let inside = jail::seen_from_inside(&spec);
        let disks = inside.disks.iter().map(|disk| &disk.path);
        for path in [&inside.kernel, &inside.initramfs, &inside.root_disk.path]
            .into_iter()
            .chain(disks)
        {
            assert!(targets.contains(&path.to_string()), "{path} is not there");
        }
        for path in ["/run", KVM_DEVICE] {
            assert!(targets.contains(&path.to_owned()), "{path} is not there");
        }
    }

    #[test]
    fn a_static_firecracker_sees_nothing_else_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("firecracker");
        let bytes = elf::tests::executable(&[1]);
        fs::create_new(&program).unwrap().write_all(&bytes).unwrap();
        assert_eq!(system(&program), [SystemFolder::File(program.clone())]);
        assert!(system(Path::new("/bin/sh")).len() > 1);
    }

    #[test]
    fn without_a_nic_there_is_no_tun() {
        assert!(!targets(&spec()).contains(&TUN_DEVICE.to_owned()));
    }

    #[test]
    fn the_monitors_socket_is_covered_and_firecrackers_own_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = spec();
        spec.run.path = folder.path().to_str().unwrap().parse().unwrap();
        for name in ["monitor.sock", "vsock.sock_1024", LOG_PIPE] {
            fs::create_fifo(&folder.path().join(name)).unwrap();
        }
        let setup = setup(&spec, Path::new("/opt/fc/firecracker"));
        let covered: Vec<_> = setup
            .entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Mask)
            .map(|entry| entry.target.display().to_string())
            .collect();
        assert_eq!(covered, ["/run/monitor.sock"]);
    }
}
