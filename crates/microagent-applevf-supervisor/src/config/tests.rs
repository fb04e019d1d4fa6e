//! Every plan there is, as the framework's objects will be.

use super::*;
use microagent_machine::command_line::kernel_command_line;
use microagent_supervisor::backend::{ConfinementDemand, GuestAddresses, RunFolder};
use microagent_types::{Arch, ByteSize, VcpuCount};

fn path(text: &str) -> AbsPath {
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

fn isolated() -> LaunchSpec {
    let cpus = VcpuCount::new(2).unwrap();
    LaunchSpec {
        workspace: "scout".parse().unwrap(),
        workspace_id: "01956f10-7a3c-7b11-8c2e-5d0f3a9b6e21".parse().unwrap(),
        boot_id: "01956f12-0be1-7c40-9f3a-2f61d0a4c7b8".parse().unwrap(),
        arch: Arch::Arm64,
        cpus,
        memory: ByteSize::from_mib(1024),
        kernel: path("/k/Image"),
        initramfs: path("/l/guestinit.cpio"),
        command_line: kernel_command_line(NAME, Arch::Arm64, cpus).unwrap(),
        root_disk: disk("root", "/w/rootfs.ext4", DiskAccess::ReadWrite),
        disks: Vec::new(),
        run: RunFolder {
            path: path("/w/run"),
            socket_prefix: path("/w/run"),
        },
        engine_record: path("/s/engines/vmm.json"),
        nic: None,
        confinement: ConfinementDemand::Auto,
        own_pid_namespace: false,
    }
}

fn with_network(mode: NetworkMode) -> LaunchSpec {
    LaunchSpec {
        nic: Some(GuestNic {
            mode,
            mac: [0x02, 0x3c, 0x41, 0xe5, 0x8f, 0x0a],
            addresses: GuestAddresses::Dhcp,
            name_servers: Vec::new(),
            openings: Vec::new(),
        }),
        ..isolated()
    }
}

fn interfaces() -> Vec<String> {
    vec!["en0".to_owned(), "en1".to_owned()]
}

#[test]
fn the_plan_of_an_isolated_machine() {
    insta::assert_debug_snapshot!(plan(&isolated(), &[]).unwrap());
}

#[test]
fn the_plan_of_a_machine_with_nat() {
    insta::assert_debug_snapshot!(plan(&with_network(NetworkMode::Nat), &interfaces()).unwrap());
}

#[test]
fn the_plan_of_a_bridged_machine() {
    let spec = with_network(NetworkMode::Bridged);
    insta::assert_debug_snapshot!(plan(&spec, &interfaces()).unwrap());
}

#[test]
fn the_plan_of_a_machine_with_data_disks_one_of_which_is_thrown_away() {
    let scratch = Disk {
        durability: Durability::ThrownAway,
        ..disk("scratch", "/w/disks/scratch.ext4", DiskAccess::ReadWrite)
    };
    let spec = LaunchSpec {
        disks: vec![
            scratch,
            disk("corpus", "/srv/corpus.ext4", DiskAccess::ReadOnly),
        ],
        ..isolated()
    };
    insta::assert_debug_snapshot!(plan(&spec, &[]).unwrap().disks);
}

#[test]
fn a_bridge_without_an_interface_is_refused_and_nat_needs_none() {
    let refused = plan(&with_network(NetworkMode::Bridged), &[]);
    assert_eq!(refused, Err(PlanError::NoInterface));
    plan(&with_network(NetworkMode::Nat), &[]).unwrap();
}

#[test]
fn a_layer_over_a_disk_is_refused() {
    let mut spec = isolated();
    spec.root_disk.base = Some(path("/c/image.ext4"));
    let refused = plan(&spec, &[]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the disk `root` is a layer over another one, which the framework cannot read"
    );
}

#[test]
fn data_disks_count_from_one() {
    assert_eq!(data_identifier(0), "ma-1");
    assert_eq!(data_identifier(7), "ma-8");
}
