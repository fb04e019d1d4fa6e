//! The documents of Firecracker's API, as far as we speak it.

use serde::{Deserialize, Serialize};

/// `PUT /machine-config`.
#[derive(Debug, Serialize)]
pub(crate) struct MachineConfig {
    pub(crate) vcpu_count: u32,
    pub(crate) mem_size_mib: u64,
    pub(crate) smt: bool,
}

/// `PUT /boot-source`.
#[derive(Debug, Serialize)]
pub(crate) struct BootSource<'a> {
    pub(crate) kernel_image_path: &'a str,
    pub(crate) initrd_path: &'a str,
    pub(crate) boot_args: &'a str,
}

/// `PUT /drives/<id>`.
#[expect(clippy::struct_field_names, reason = "the API's own names")]
#[derive(Debug, Serialize)]
pub(crate) struct Drive<'a> {
    pub(crate) drive_id: &'a str,
    pub(crate) path_on_host: &'a str,
    pub(crate) is_root_device: bool,
    pub(crate) is_read_only: bool,
    pub(crate) cache_type: &'a str,
    pub(crate) io_engine: &'a str,
}

/// `PUT /vsock`.
#[derive(Debug, Serialize)]
pub(crate) struct Vsock<'a> {
    pub(crate) guest_cid: u32,
    pub(crate) uds_path: &'a str,
}

/// `PUT /entropy`.
#[derive(Debug, Serialize)]
pub(crate) struct Entropy {}

/// `PUT /network-interfaces/<id>`.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkInterface<'a> {
    pub(crate) iface_id: &'a str,
    pub(crate) host_dev_name: &'a str,
    pub(crate) guest_mac: &'a str,
}

/// `PUT /balloon`.
#[derive(Debug, Serialize)]
pub(crate) struct Balloon {
    pub(crate) amount_mib: u32,
    pub(crate) deflate_on_oom: bool,
    pub(crate) free_page_reporting: bool,
}

/// `PUT /actions`.
#[derive(Debug, Serialize)]
pub(crate) struct Action<'a> {
    pub(crate) action_type: &'a str,
}

/// `PATCH /vm`.
#[derive(Debug, Serialize)]
pub(crate) struct VmState<'a> {
    pub(crate) state: &'a str,
}

/// What `GET /version` answers.
#[derive(Debug, Deserialize)]
pub(crate) struct VersionAnswer {
    pub(crate) firecracker_version: String,
}

/// What a refusal carries.
#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    pub(crate) fault_message: String,
}
