//! A launch spec for tests.

use microagent_supervisor::backend::{
    ConfinementDemand, Disk, DiskAccess, Durability, LaunchSpec, RunFolder,
};
use microagent_types::{AbsPath, Arch, ByteSize, VcpuCount};

/// A path.
pub(crate) fn path(text: &str) -> AbsPath {
    text.parse().unwrap()
}

fn disk(name: &str, image: &str, access: DiskAccess) -> Disk {
    Disk {
        name: name.to_owned(),
        path: path(image),
        access,
        base: None,
        durability: Durability::Kept,
    }
}

/// An isolated machine.
pub(crate) fn spec(arch: Arch) -> LaunchSpec {
    LaunchSpec {
        workspace: "scout".parse().unwrap(),
        workspace_id: "01956f10-7a3c-7b11-8c2e-5d0f3a9b6e21".parse().unwrap(),
        boot_id: "01956f12-0be1-7c40-9f3a-2f61d0a4c7b8".parse().unwrap(),
        arch,
        cpus: VcpuCount::new(2).unwrap(),
        memory: ByteSize::from_mib(1024),
        kernel: path("/k/Image"),
        initramfs: path("/l/guestinit.cpio"),
        command_line: "console=ttyS0 quiet".to_owned(),
        root_disk: disk("root", "/w/rootfs.ext4", DiskAccess::ReadWrite),
        disks: Vec::new(),
        run: RunFolder {
            path: path("/w/run"),
            socket_prefix: path("/w/run"),
        },
        engine_record: path("/s/engines/vmm.json"),
        nic: None,
        confinement: ConfinementDemand::Auto,
        own_pid_namespace: true,
    }
}

/// Two data disks.
pub(crate) fn data_disks() -> Vec<Disk> {
    vec![
        disk("data", "/w/disks/data.ext4", DiskAccess::ReadWrite),
        disk("corpus", "/srv/corpus.ext4", DiskAccess::ReadOnly),
    ]
}
