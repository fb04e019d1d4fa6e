//! The domain form of a workspace's configuration, and the rules between its fields.
//!
//! It can't be serialised, on purpose: the message and the record have forms of their own, and
//! conversion is written out, so that the inside may change shape. What a single field may hold is
//! in its type; what fields may hold together is [`MachineSpec::problems`], which reports all of
//! them at once, each with the path of the field.

use std::collections::BTreeMap;
use std::net::IpAddr;

use microagent_types::{
    AbsPath, Arch, ByteSize, Digest, DiskName, Environment, GuestPath, LabelName, MediationPort,
    MediationTarget, Opening, PublishSpec, Sha256Hex, SignalName, VcpuCount, WorkspaceName,
};

use crate::words::words;

mod check;

pub use check::{HostLimits, SpecProblem};

/// Smallest memory of a machine.
pub const MEMORY_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// Memory comes in multiples of this.
pub const MEMORY_STEP_BYTES: u64 = 2 * 1024 * 1024;
/// Root disks come in multiples of this.
pub const ROOT_DISK_STEP_BYTES: u64 = 1024 * 1024;
/// Largest root disk.
pub const ROOT_DISK_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024 * 1024;
/// Most data disks.
pub const DISKS_MAX: usize = 8;
/// Most published ports.
pub const PUBLISH_MAX: usize = 64;
/// Most name servers.
pub const DNS_MAX: usize = 3;
/// Most labels.
pub const LABELS_MAX: usize = 64;
/// Most words of a workload.
pub const ARGUMENTS_MAX: usize = 4096;
/// Most bytes of a workload's words.
pub const ARGUMENTS_BYTES_MAX: usize = 1024 * 1024;

words! {
    /// How the bytes of a disk are laid out.
    DiskFormat, "a disk format";
    /// An ext4 image.
    Raw => "raw",
    /// An ext4 image with the footer of a fixed VHD.
    Vhd => "vhd",
}

words! {
    /// What a guest may do to a disk.
    DiskAccess, "a disk mode";
    /// Read and write.
    ReadWrite => "rw",
    /// Read.
    ReadOnly => "ro",
}

words! {
    /// How a root disk came to be.
    CloneMethod, "a way to clone";
    /// Blocks are shared with the image.
    Reflink => "reflink",
    /// It was copied.
    Copy => "copy",
    /// It holds only what the guest has changed; all else is read from the image, which stays as it is.
    Overlay => "overlay",
}

words! {
    /// What network a guest has.
    NetworkMode, "a network mode";
    /// Outbound by address translation.
    Nat => "nat",
    /// None.
    Isolated => "isolated",
    /// An interface on the host's own network.
    Bridged => "bridged",
}

/// Whether a kernel may be replaced by a newer default at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelPin {
    /// It is this one; hashed at every start.
    Pinned,
    /// A start may name a newer default.
    Default,
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Where it is.
    pub path: AbsPath,
    /// Its hash.
    pub sha256: Sha256Hex,
    /// Whether it is pinned.
    pub pin: KernelPin,
}

/// The initramfs with the guest init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    /// Where it is.
    pub path: AbsPath,
    /// Its hash.
    pub sha256: Sha256Hex,
}

/// The root disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDisk {
    /// Where it is.
    pub path: AbsPath,
    /// Its layout.
    pub format: DiskFormat,
    /// Its length.
    pub size: ByteSize,
    /// The image that it is made from.
    pub clone_from: Option<AbsPath>,
    /// How it was made from it.
    pub clone: Option<CloneMethod>,
}

/// Whether a disk goes with the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It lies in the workspace's folder and is deleted with it.
    Owned,
    /// It is the user's and stays.
    Foreign,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// Its name.
    pub name: DiskName,
    /// Where it is.
    pub path: AbsPath,
    /// Where the guest mounts it.
    pub mount: GuestPath,
    /// What the guest may do to it.
    pub access: DiskAccess,
    /// Whether it goes with the workspace.
    pub ownership: Ownership,
}

/// A user of the guest: `NAME|UID[:GROUP|GID]`, resolved there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestUser(String);

impl GuestUser {
    /// Longest text of a user.
    const BYTES_MAX: usize = 256;

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for GuestUser {
    type Err = microagent_types::InvalidText;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b':' && byte != b'/')
        };
        let (user, group) = text
            .split_once(':')
            .map_or((text, None), |(u, g)| (u, Some(g)));
        if text.len() <= Self::BYTES_MAX && part(user) && group.is_none_or(part) {
            return Ok(Self(text.to_owned()));
        }
        Err(microagent_types::InvalidText::new(
            "a user of the guest",
            text,
            "a name or number is expected, and after a colon a group",
        ))
    }
}

/// What a guest runs at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Its environment.
    pub env: Environment,
    /// Who runs it; `None` is root.
    pub user: Option<GuestUser>,
    /// Where.
    pub workdir: GuestPath,
    /// What asks it to end.
    pub stop_signal: SignalName,
}

/// Files for the first boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBootFiles {
    /// A tar on the host.
    pub source: AbsPath,
    /// The folder of the guest that it goes to.
    pub target: GuestPath,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What the guest has.
    pub mode: NetworkMode,
    /// Name servers in place of the host's.
    pub dns: Vec<IpAddr>,
    /// What near the host is opened to the guest.
    pub reach: Vec<Opening>,
    /// Ports on the host.
    pub publish: Vec<PublishSpec>,
}

/// Whether a workspace starts without its mediation target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// It does not.
    Required,
    /// It does.
    Optional,
}

/// The mediation channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mediation {
    /// What the guest dials.
    pub port: MediationPort,
    /// What the host connects it to.
    pub target: MediationTarget,
    /// Whether it must be there.
    pub requirement: Requirement,
}

/// Where the disk's content comes from; recorded as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOrigin {
    /// As the user wrote it.
    pub reference: Option<String>,
    /// Of the manifest.
    pub digest: Option<Digest>,
    /// What kind of source it was.
    pub source: Option<String>,
    /// Which builder made the disk.
    pub builder: Option<String>,
}

/// Whether a workspace outlives its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It stays until it is deleted.
    Kept,
    /// It goes when its run ends.
    Ephemeral,
}

/// Everything that a boot of a workspace needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The guest's architecture.
    pub arch: Arch,
    /// Virtual CPUs.
    pub cpus: VcpuCount,
    /// Memory.
    pub memory: ByteSize,
    /// The kernel.
    pub kernel: Kernel,
    /// The initramfs.
    pub initramfs: Initramfs,
    /// The root disk.
    pub root_disk: RootDisk,
    /// Data disks in device order.
    pub disks: Vec<DataDisk>,
    /// The guest's name.
    pub hostname: WorkspaceName,
    /// What runs at boot; `None` is an idle guest.
    pub workload: Option<Workload>,
    /// The environment of every session of an idle guest.
    pub env: Environment,
    /// Files for the first boot.
    pub files: Vec<FirstBootFiles>,
    /// The network.
    pub network: Network,
    /// The mediation channel.
    pub mediation: Option<Mediation>,
    /// Where the disk's content comes from.
    pub image: Option<ImageOrigin>,
    /// The profile that it was made with.
    pub profile: Option<String>,
    /// Labels.
    pub labels: BTreeMap<LabelName, String>,
    /// Whether it outlives its run.
    pub lifetime: Lifetime,
}
