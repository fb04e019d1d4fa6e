use super::*;
use microagent_machine::command_line::kernel_command_line;
use microagent_supervisor::backend::{
    ConfinementDemand, Durability, GuestAddresses, GuestNic, NetworkMode, RunFolder,
};
use microagent_types::{Arch, BackendName, ByteSize, VcpuCount};

fn path(text: &str) -> AbsPath {
    text.parse().unwrap()
}

fn disk(name: &str, access: DiskAccess) -> Disk {
    Disk {
        name: name.to_owned(),
        path: path(&format!("/state/{name}.vhd")),
        access,
        base: None,
        durability: Durability::Kept,
    }
}

fn spec() -> LaunchSpec {
    let cpus = VcpuCount::new(2).unwrap();
    LaunchSpec {
        workspace: "web".parse().unwrap(),
        workspace_id: "01980000-0000-7000-8000-000000000001".parse().unwrap(),
        boot_id: "01980000-0000-7000-8000-000000000002".parse().unwrap(),
        arch: Arch::Amd64,
        cpus,
        memory: ByteSize::from_bytes(1 << 30),
        kernel: path("/kernels/Image"),
        initramfs: path("/libexec/guestinit.cpio"),
        command_line: kernel_command_line(BackendName::WindowsHyperv, Arch::Amd64, cpus).unwrap(),
        root_disk: disk("rootfs", DiskAccess::ReadWrite),
        disks: vec![disk("data", DiskAccess::ReadOnly)],
        run: RunFolder {
            path: path("/state/run"),
            socket_prefix: path("/pipe/microagent-39b6b1820d724a36"),
        },
        nic: Some(GuestNic {
            mode: NetworkMode::Nat,
            mac: [2, 0x3c, 0x41, 0xe5, 0x8f, 0xc4],
            addresses: GuestAddresses::Dhcp,
            name_servers: Vec::new(),
            openings: Vec::new(),
        }),
        confinement: ConfinementDemand::Auto,
        own_pid_namespace: false,
        engine_record: path("/state/engine.json"),
    }
}

fn port(number: u32) -> VsockPort {
    VsockPort::new(number).unwrap()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn a_boot_with_everything_is_this_document() {
    let listeners = [VsockPort::CONTROL, port(2048)];
    let document = compute_system(&spec(), &listeners, Some("endpoint-id")).unwrap();
    insta::assert_snapshot!(json(&document));
}

#[test]
fn an_isolated_boot_has_no_adapter() {
    let isolated = LaunchSpec {
        nic: None,
        ..spec()
    };
    let document = compute_system(&isolated, &[VsockPort::CONTROL], None).unwrap();
    assert!(!json(&document).contains("NetworkAdapters"));
}

#[test]
fn a_port_beyond_what_hyper_v_carries_has_no_document() {
    let listeners = [
        port(crate::service_id::PORT_MAX),
        port(crate::service_id::PORT_MAX + 1),
    ];
    assert!(compute_system(&spec(), &listeners[..1], None).is_ok());
    let refused = compute_system(&spec(), &listeners, None).unwrap_err();
    assert_eq!(refused, DocumentError::PortTooLarge { port: listeners[1] });
}

#[test]
fn a_disk_that_is_no_vhd_has_no_document() {
    let raw = path("/state/rootfs.ext4");
    let mut boot = spec();
    boot.root_disk.path = raw.clone();
    let refused = compute_system(&boot, &[VsockPort::CONTROL], None).unwrap_err();
    assert_eq!(refused, DocumentError::NotVhd { path: raw });
}

#[test]
fn a_quarantine_takes_the_adapter_and_the_service() {
    insta::assert_snapshot!(json(&[
        remove_adapter(),
        disable_service(port(2048)).unwrap()
    ]));
}
