//! One boot, as a backend is told of it: values only, every default filled in.
//!
//! It holds nothing that the guest learns over its control connection (names, environment, workload);
//! a backend makes a machine and does not know what for.

use microagent_machine::spec::{DiskAccess, NetworkMode};
use microagent_types::{
    AbsPath, Arch, BootId, ByteSize, Opening, VcpuCount, WorkspaceId, WorkspaceName,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Everything that a backend needs to make one VM.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchSpec {
    /// For process names and messages.
    pub workspace: WorkspaceName,
    /// Whose disks these are.
    pub workspace_id: WorkspaceId,
    /// This boot; the VM's own id where it has one.
    pub boot_id: BootId,
    /// The guest's architecture: the host's.
    pub arch: Arch,
    /// Virtual CPUs.
    pub cpus: VcpuCount,
    /// Memory, a multiple of 2 MiB.
    pub memory: ByteSize,
    /// The kernel image.
    pub kernel: AbsPath,
    /// The initramfs.
    pub initramfs: AbsPath,
    /// The kernel command line, complete but for what the VMM adds.
    pub command_line: String,
    /// The root disk.
    pub root_disk: Disk,
    /// Data disks in device order.
    pub disks: Vec<Disk>,
    /// Where sockets of this boot lie.
    pub run: RunFolder,
    /// Where the VMM's version is remembered, see [`super::version_of_engine`].
    pub engine_record: AbsPath,
    /// The NIC; none in `isolated` mode and in maintenance boots.
    pub nic: Option<GuestNic>,
    /// Whether confinement may be missing.
    pub confinement: ConfinementDemand,
    /// Whether the monitor is the first process of a pid namespace that ends with it.
    pub own_pid_namespace: bool,
}

/// A disk image on the host. It is locked by the monitor for as long as the VM may touch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `root`, or the data disk's name.
    pub name: String,
    /// The image.
    pub path: AbsPath,
    /// How the VM may use it.
    pub access: DiskAccess,
    /// The disk beneath it, which stays as it is: `path` then holds only what the guest has changed, in
    /// the form that [`super::Backend::overlay`] gave it.
    pub base: Option<AbsPath>,
    /// Whether it outlives its VM.
    pub durability: Durability,
}

/// What a power cut may do to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What the guest has synced is on the disk.
    #[default]
    Kept,
    /// Anything: it goes with its VM, so a sync of the guest need not reach the host's disk.
    ThrownAway,
}

/// The run folder under both its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    /// Where it is.
    pub path: AbsPath,
    /// What to put before socket names: the same folder, or a short alias of it that fits into a
    /// socket address.
    pub socket_prefix: AbsPath,
}

/// The guest's network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic {
    /// The mode, never `Isolated`.
    pub mode: NetworkMode,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its addresses, as [`super::Backend::guest_addresses`] gave them.
    pub addresses: GuestAddresses,
    /// Name servers that the user named.
    pub name_servers: Vec<IpAddr>,
    /// What near the host is opened to it.
    pub openings: Vec<Opening>,
}

/// What a guest's interface is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestAddresses {
    /// The guest asks for them.
    Dhcp,
    /// They are told to the guest.
    Static {
        /// Largest packet.
        mtu: u32,
        /// IPv4 address.
        address: Ipv4Addr,
        /// Its prefix length.
        prefix_length: u8,
        /// IPv4 gateway.
        gateway: Ipv4Addr,
        /// IPv6 address, prefix length and gateway, when the host has IPv6.
        v6: Option<(Ipv6Addr, u8, Ipv6Addr)>,
        /// Name servers, at most three.
        dns: Vec<IpAddr>,
    },
}

/// Whether a VM may run without confinement: `MICROAGENT_CONFINEMENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConfinementDemand {
    /// All parts or no start.
    Required,
    /// What the host allows.
    #[default]
    Auto,
    /// None.
    Off,
}

impl ConfinementDemand {
    /// From the variable's value; `None` for a word that it does not know.
    pub fn from_word(word: Option<&str>) -> Option<Self> {
        match word {
            None | Some("auto") => Some(Self::Auto),
            Some("required") => Some(Self::Required),
            Some("off") => Some(Self::Off),
            Some(_) => None,
        }
    }
}

/// How the guest finds a disk. It never guesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestDevice {
    /// By device node, `/dev/vda`.
    Path(String),
    /// By virtio serial, `ma-root`.
    Serial(String),
    /// By SCSI logical unit.
    Lun(u32),
}
