//! The boot spec: all that a guest learns about the workspace it is.

use microagent_types::{BootId, Environment, GuestPath, MediationPort, SignalName, WorkspaceName};
use serde::{Deserialize, Serialize};

/// The host's answer to `hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootSpec {
    /// The generation to speak from here on.
    pub generation: u32,
    /// This boot.
    pub boot_id: BootId,
    /// 32 hexadecimal digits that only PID 1 knows, for taking up a broken connection.
    pub resume: String,
    /// The guest's host name.
    pub hostname: WorkspaceName,
    /// Unix microseconds.
    pub time_unix_us: u64,
    /// 64 random bytes in hexadecimal, credited to the kernel's pool.
    pub entropy: String,
    /// The root disk.
    pub root: RootDisk,
    /// Data disks in order.
    #[serde(default)]
    pub disks: Vec<DataDisk>,
    /// Files of the first boot; their bytes follow as data frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BootFiles>,
    /// The NIC; none means there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<GuestNetwork>,
    /// Environment of every session.
    #[serde(default)]
    pub env: Environment,
    /// User of every session unless it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Folder of every session unless it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<GuestPath>,
    /// What PID 1 starts; none means the workspace is idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadSpec>,
    /// Set in a maintenance boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceAccess>,
    /// What processes see as `MICROAGENT_MEDIATION_PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mediation_port: Option<MediationPort>,
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Bounds that the guest keeps.
    pub limits: GuestLimits,
}

/// How the guest finds a disk. It never guesses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", content = "value", rename_all = "snake_case")]
pub enum DeviceSelector {
    /// The device node, `/dev/vda`.
    Path(String),
    /// The virtio serial, `ma-root`.
    Serial(String),
    /// The SCSI logical unit.
    Lun(u32),
}

/// Whether a disk may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskMode {
    /// Read and write.
    Rw,
    /// Read only.
    Ro,
}

/// The root disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootDisk {
    /// Where it is.
    pub device: DeviceSelector,
    /// How it is mounted.
    pub mode: DiskMode,
    /// Whether its file system grows to the device's size.
    pub grow: bool,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataDisk {
    /// Where it is.
    pub device: DeviceSelector,
    /// Where it goes.
    pub mount: GuestPath,
    /// How it is mounted.
    pub mode: DiskMode,
}

/// Tars that follow the boot spec as data frames, in this order, each ended by an empty frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootFiles {
    /// One tar each.
    pub streams: Vec<BootFileStream>,
}

/// One tar of files for the first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootFileStream {
    /// The folder that it is unpacked in.
    pub target: GuestPath,
    /// Bytes of the tar.
    pub bytes: u64,
}

/// The guest's network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuestNetwork {
    /// Its name, when the host knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its hardware address, by which it is found otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Addresses come by DHCP; everything below is absent then.
    #[serde(skip_serializing_if = "is_false")]
    pub dhcp: bool,
    /// Largest packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// IPv4 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::Ipv4Addr>,
    /// Its prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
    /// IPv4 gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<std::net::Ipv4Addr>,
    /// IPv6 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address6: Option<std::net::Ipv6Addr>,
    /// Its prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_length6: Option<u8>,
    /// IPv6 gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<std::net::Ipv6Addr>,
    /// Name servers, at most three.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<std::net::IpAddr>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What PID 1 starts at boot, and whose end is the guest's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// The program and its arguments; not empty.
    pub argv: Vec<String>,
    /// Its environment, over the boot spec's.
    #[serde(default)]
    pub env: Environment,
    /// `NAME|UID[:GROUP|GID]`, resolved in the guest; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Made when missing; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<GuestPath>,
    /// What asks it to stop.
    pub stop_signal: SignalName,
}

/// How the disks are mounted in a maintenance boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaintenanceAccess {
    /// Read only, the journal replayed.
    Ro,
    /// Writable.
    Rw,
}

/// Bounds that the guest keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestLimits {
    /// Most open sessions.
    pub sessions: u32,
    /// Bytes of stdin buffered for a process that does not read.
    pub stdin_bytes: u64,
}
