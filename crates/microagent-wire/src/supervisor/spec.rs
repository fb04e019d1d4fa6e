//! Config: what `prepare` stores and every later `start` uses.
//!
//! These are wire types; what a machine *is* stands in `microagent-machine`, without serde. Rules
//! between fields are in `spec_rules`.

use crate::guest::boot_spec::DiskMode;
use microagent_types::{
    AbsPath, Arch, ByteSize, Digest, DiskName, Environment, GuestPath, GuestPort, HostPort,
    LabelName, MediationPort, MediationTarget, Opening, Sha256Hex, SignalName, VcpuCount,
    WorkspaceName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A workspace's machine, as it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The host's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Virtual CPUs.
    #[serde(default = "cpus_default")]
    pub cpus: VcpuCount,
    /// Memory, a multiple of 2 MiB, at least 128 MiB.
    #[serde(default = "memory_default")]
    pub memory_bytes: ByteSize,
    /// What boots.
    pub kernel: KernelFile,
    /// The guest init.
    pub initramfs: HashedFile,
    /// The root disk.
    pub root_disk: RootDiskConfig,
    /// Data disks in device order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskConfig>,
    /// The workspace's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<WorkspaceName>,
    /// What runs at boot; idle when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadConfig>,
    /// Environment of every session.
    #[serde(default, skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// Files of the first boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileConfig>,
    /// The network.
    #[serde(default)]
    pub network: NetworkConfig,
    /// The mediation channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mediation: Option<MediationConfig>,
    /// Where the root disk came from; recorded as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRecord>,
    /// The profile it was made with; recorded as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Labels; recorded as given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelName, String>,
    /// Whether it goes when its one run ends; recorded as given.
    #[serde(default)]
    pub ephemeral: bool,
}

/// Virtual CPUs when nothing is said.
pub const CPUS_DEFAULT: u64 = 2;
/// Memory when nothing is said, in bytes.
pub const MEMORY_BYTES_DEFAULT: u64 = 2 << 30;

fn cpus_default() -> VcpuCount {
    VcpuCount::new(CPUS_DEFAULT).expect("2 is between 1 and 32")
}

fn memory_default() -> ByteSize {
    ByteSize::from_bytes(MEMORY_BYTES_DEFAULT)
}

/// A file and what it must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashedFile {
    /// Where it is.
    pub path: AbsPath,
    /// Its SHA-256.
    pub sha256: Sha256Hex,
}

/// The kernel image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelFile {
    /// Where it is.
    pub path: AbsPath,
    /// Its SHA-256.
    pub sha256: Sha256Hex,
    /// Pinned: hashed at every start. Otherwise a start may name a newer default.
    #[serde(default)]
    pub custom: bool,
}

/// How a disk image is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// ext4 and nothing else.
    Raw,
    /// ext4 and the footer of a fixed VHD.
    Vhd,
}

/// How a disk was cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloneKind {
    /// Blocks are shared until written.
    Reflink,
    /// A sparse copy.
    Copy,
    /// A layer over the image, for a disk that goes with its one run.
    Overlay,
}

/// The root disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootDiskConfig {
    /// `<ws>/rootfs.ext4` or `<ws>/rootfs.vhd`; that one when absent. `<ws>/rootfs.overlay` in a record
    /// whose `clone` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<AbsPath>,
    /// Its layout.
    pub format: DiskFormat,
    /// Its size, a multiple of 1 MiB, not below the image, up to 16 TiB.
    pub size_bytes: ByteSize,
    /// The image it is made from; the disk must be there already when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_from: Option<AbsPath>,
    /// How it was made; set by the supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneKind>,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskConfig {
    /// What it is called.
    pub name: DiskName,
    /// Where it is.
    pub path: AbsPath,
    /// Where the guest mounts it.
    pub mount: GuestPath,
    /// Whether it may be written.
    #[serde(default = "disk_mode_default")]
    pub mode: DiskMode,
    /// Lies under the workspace and goes with it.
    #[serde(default)]
    pub owned: bool,
}

fn disk_mode_default() -> DiskMode {
    DiskMode::Rw
}

/// What runs at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadConfig {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment, over the workspace's.
    #[serde(default, skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// `NAME|UID[:GROUP|GID]`, resolved in the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Made when missing; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<GuestPath>,
    /// What asks it to stop; SIGTERM when absent.
    #[serde(default = "stop_signal_default")]
    pub stop_signal: SignalName,
}

fn stop_signal_default() -> SignalName {
    SignalName::TERM
}

/// Files of the first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileConfig {
    /// A tar under `<ws>/files/`.
    pub source: AbsPath,
    /// The folder it is unpacked in.
    pub target: GuestPath,
}

/// Kinds of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Outbound only.
    #[default]
    Nat,
    /// No NIC at all.
    Isolated,
    /// On the host's own network.
    Bridged,
}

/// The network of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Its kind.
    pub mode: NetworkMode,
    /// Name servers for the guest, at most three.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// What near the host the guest may reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reach: Vec<Opening>,
    /// Published ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishConfig>,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishConfig {
    /// Where the host listens.
    #[serde(default = "publish_host_default")]
    pub host: IpAddr,
    /// The port there; 0 takes a free one at each start.
    pub host_port: HostPort,
    /// The port in the guest.
    pub guest_port: GuestPort,
}

fn publish_host_default() -> IpAddr {
    microagent_types::PublishSpec::DEFAULT_HOST
}

/// The mediation channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MediationConfig {
    /// The vsock port that the guest dials.
    pub port: MediationPort,
    /// Where it leads.
    pub target: MediationTarget,
    /// Whether a start needs the target.
    #[serde(default = "required_default")]
    pub required: bool,
}

fn required_default() -> bool {
    true
}

/// Where a root disk came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageRecord {
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The manifest's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `registry`, `oci`, `oci_archive`, `docker_archive` or `rootfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The builder that made the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}
