//! A launch spec becomes the calls that make its VM. Pure: a test pins each of them.
//!
//! Two traps: a drive's default cache type answers flushes without doing them, and an identifier
//! takes no dash, so a disk's name is not its drive's. Sockets are named relative to the run folder,
//! which is the VMM's working folder, so that no limit on their length is met.

use std::ffi::OsString;

use microagent_linux_host::user_network::TAP;
use microagent_supervisor::backend::{Disk, DiskAccess, GuestNic, LaunchSpec};
use microagent_types::{AbsPath, BootId};
use serde::Serialize;

use crate::api::{
    Action, Balloon, BootSource, Drive, Entropy, MachineConfig, NetworkInterface, VmState, Vsock,
};
use crate::version::FirecrackerVersion;

/// The API's socket, in the run folder.
pub const API_SOCKET: &str = "api.sock";
/// The guest's vsock, in the run folder; what the guest dials has its name and a port behind it.
pub const VSOCK_SOCKET: &str = "vsock.sock";
/// The pipe for the log, in the run folder. On stdout it would mix with the console.
pub const LOG_PIPE: &str = "vmm.log";

/// Where the guest is let run.
pub const START_PATH: &str = "/actions";

const GUEST_CID: u32 = 3;
const BYTES_PER_MIB: u64 = 1 << 20;
/// Flushes reach the host's disk.
const CACHE_TYPE: &str = "Writeback";
const IO_ENGINE: &str = "Sync";
const NIC: &str = "eth0";

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// The document; empty for a question.
    pub body: String,
}

impl Call {
    fn put(path: impl Into<String>, document: &impl Serialize) -> Self {
        Self::with_document("PUT", path.into(), document)
    }

    fn with_document(method: &'static str, path: String, document: &impl Serialize) -> Self {
        Self {
            method,
            path,
            body: serde_json::to_string(document).expect("a document is plain JSON"),
        }
    }

    /// Asks for the version.
    pub fn version() -> Self {
        Self {
            method: "GET",
            path: "/version".to_owned(),
            body: String::new(),
        }
    }

    /// Lets the guest run.
    pub fn start() -> Self {
        let action_type = "InstanceStart";
        Self::put(START_PATH, &Action { action_type })
    }

    /// Stops the vCPUs.
    pub fn pause() -> Self {
        Self::state("Paused")
    }

    /// Lets them go on.
    pub fn resume() -> Self {
        Self::state("Resumed")
    }

    fn state(state: &str) -> Self {
        Self::with_document("PATCH", "/vm".to_owned(), &VmState { state })
    }
}

/// Firecracker's arguments, the program itself left out.
pub fn arguments(boot_id: &BootId) -> Vec<OsString> {
    let words = [
        "--api-sock".to_owned(),
        API_SOCKET.to_owned(),
        "--id".to_owned(),
        boot_id.to_string(),
        "--log-path".to_owned(),
        LOG_PIPE.to_owned(),
        "--level".to_owned(),
        "Warning".to_owned(),
    ];
    words.into_iter().map(OsString::from).collect()
}

/// Everything before the start, in order.
pub fn calls(spec: &LaunchSpec, version: FirecrackerVersion) -> Vec<Call> {
    let mut calls = vec![
        Call::put(
            "/machine-config",
            &MachineConfig {
                vcpu_count: spec.cpus.get().into(),
                mem_size_mib: spec.memory.bytes() / BYTES_PER_MIB,
                smt: false,
            },
        ),
        Call::put(
            "/boot-source",
            &BootSource {
                kernel_image_path: text(&spec.kernel),
                initrd_path: text(&spec.initramfs),
                boot_args: &spec.command_line,
            },
        ),
        drive("rootfs", &spec.root_disk),
    ];
    let disks = spec.disks.iter().enumerate();
    calls.extend(disks.map(|(index, disk)| drive(&format!("disk{index}"), disk)));
    let vsock = Vsock {
        guest_cid: GUEST_CID,
        uds_path: VSOCK_SOCKET,
    };
    calls.push(Call::put("/vsock", &vsock));
    calls.push(Call::put("/entropy", &Entropy {}));
    if let Some(nic) = &spec.nic {
        calls.push(network_interface(nic));
    }
    if version.reports_free_pages() {
        let balloon = Balloon {
            amount_mib: 0,
            deflate_on_oom: true,
            free_page_reporting: true,
        };
        calls.push(Call::put("/balloon", &balloon));
    }
    calls
}

fn drive(id: &str, disk: &Disk) -> Call {
    let drive = Drive {
        drive_id: id,
        path_on_host: text(&disk.path),
        // The guest's init mounts it, from an initramfs.
        is_root_device: false,
        is_read_only: disk.access == DiskAccess::ReadOnly,
        cache_type: CACHE_TYPE,
        io_engine: IO_ENGINE,
    };
    Call::put(format!("/drives/{id}"), &drive)
}

fn network_interface(nic: &GuestNic) -> Call {
    let mac: Vec<String> = nic.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let interface = NetworkInterface {
        iface_id: NIC,
        host_dev_name: TAP.to_str().expect("it is plain text"),
        guest_mac: &mac.join(":"),
    };
    Call::put(format!("/network-interfaces/{NIC}"), &interface)
}

fn text(path: &AbsPath) -> &str {
    let text = path.as_path().to_str();
    text.expect("paths of a launch spec are UTF-8")
}

/// The node of a disk in the guest: the root disk is 0.
pub fn device_node(index: usize) -> String {
    let letters = ('a'..='z')
        .nth(index)
        .expect("there are at most nine disks");
    format!("/dev/vd{letters}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{data_disks, spec};
    use microagent_supervisor::backend::{GuestAddresses, NetworkMode};

    fn lines(spec: &LaunchSpec, version: &str) -> Vec<String> {
        calls(spec, version.parse().unwrap())
            .into_iter()
            .map(|call| format!("{} {} {}", call.method, call.path, call.body))
            .collect()
    }

    #[test]
    fn an_isolated_machine_on_the_oldest_version() {
        assert_eq!(
            lines(&spec(), "1.10.0"),
            [
                r#"PUT /machine-config {"vcpu_count":2,"mem_size_mib":1024,"smt":false}"#,
                r#"PUT /boot-source {"kernel_image_path":"/k/Image","initrd_path":"/l/guestinit.cpio","boot_args":"console=ttyS0 quiet"}"#,
                r#"PUT /drives/rootfs {"drive_id":"rootfs","path_on_host":"/w/rootfs.ext4","is_root_device":false,"is_read_only":false,"cache_type":"Writeback","io_engine":"Sync"}"#,
                r#"PUT /vsock {"guest_cid":3,"uds_path":"vsock.sock"}"#,
                "PUT /entropy {}",
            ]
        );
    }

    #[test]
    fn data_disks_a_nic_and_a_balloon_come_behind() {
        let mut spec = spec();
        spec.disks = data_disks();
        spec.nic = Some(GuestNic {
            mode: NetworkMode::Nat,
            mac: [2, 0x3c, 0x41, 0xe5, 0x8f, 0xc4],
            addresses: GuestAddresses::Dhcp,
            name_servers: Vec::new(),
            openings: Vec::new(),
        });
        assert_eq!(
            lines(&spec, "1.15.1")[3..],
            [
                r#"PUT /drives/disk0 {"drive_id":"disk0","path_on_host":"/w/disks/data.ext4","is_root_device":false,"is_read_only":false,"cache_type":"Writeback","io_engine":"Sync"}"#,
                r#"PUT /drives/disk1 {"drive_id":"disk1","path_on_host":"/srv/corpus.ext4","is_root_device":false,"is_read_only":true,"cache_type":"Writeback","io_engine":"Sync"}"#,
                r#"PUT /vsock {"guest_cid":3,"uds_path":"vsock.sock"}"#,
                "PUT /entropy {}",
                r#"PUT /network-interfaces/eth0 {"iface_id":"eth0","host_dev_name":"tap0","guest_mac":"02:3c:41:e5:8f:c4"}"#,
                r#"PUT /balloon {"amount_mib":0,"deflate_on_oom":true,"free_page_reporting":true}"#,
            ]
        );
    }

    #[test]
    fn start_pause_and_resume_are_single_calls() {
        let words = |call: Call| format!("{} {} {}", call.method, call.path, call.body);
        assert_eq!(
            [
                Call::start(),
                Call::pause(),
                Call::resume(),
                Call::version()
            ]
            .map(words),
            [
                r#"PUT /actions {"action_type":"InstanceStart"}"#,
                r#"PATCH /vm {"state":"Paused"}"#,
                r#"PATCH /vm {"state":"Resumed"}"#,
                "GET /version ",
            ]
        );
    }

    #[test]
    fn the_arguments_name_sockets_by_short_names() {
        let words = arguments(&spec().boot_id).join(std::ffi::OsStr::new(" "));
        assert_eq!(
            words.to_str().unwrap(),
            "--api-sock api.sock --id 01956f12-0be1-7c40-9f3a-2f61d0a4c7b8 --log-path vmm.log \
             --level Warning"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_vsock_is_where_it_is_dialled() {
        assert_eq!(
            VSOCK_SOCKET,
            microagent_linux_host::vsock_unix::DEVICE_SOCKET
        );
    }

    #[test]
    fn disks_have_letters_in_order() {
        assert_eq!(
            [0, 1, 8].map(device_node),
            ["/dev/vda", "/dev/vdb", "/dev/vdi"]
        );
    }
}
