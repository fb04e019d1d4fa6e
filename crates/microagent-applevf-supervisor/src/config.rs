//! One boot as a plan of the framework's objects: every setting spelt out, nothing left to a default of
//! the framework.
//!
//! Pure. It must not know how an object is made, only what is in it; the plan is what tests pin and
//! what `framework.rs` carries out from top to bottom.

use std::fmt;

use microagent_machine::spec::{DiskAccess, NetworkMode};
use microagent_supervisor::backend::{Disk, Durability, GuestNic, LaunchSpec};
use microagent_types::{AbsPath, BackendName};

/// How the guest finds its root disk: the identifier that the virtio device shows.
pub const ROOT_IDENTIFIER: &str = "ma-root";
/// What stands before the number of a data disk, which counts from 1.
const DATA_IDENTIFIER: &str = "ma-";

/// The identifier of a data disk, counted from 0.
pub fn data_identifier(index: usize) -> String {
    format!("{DATA_IDENTIFIER}{}", index + 1)
}

/// A `VZVirtualMachineConfiguration`. Besides what stands here every machine has one console, one socket
/// device, one entropy device and one memory balloon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinePlan {
    /// `CPUCount`.
    pub cpus: u32,
    /// `memorySize`.
    pub memory_bytes: u64,
    /// `VZLinuxBootLoader`.
    pub boot: BootPlan,
    /// `VZVirtioBlockDeviceConfiguration` each, in the order of devices.
    pub disks: Vec<DiskPlan>,
    /// `VZVirtioNetworkDeviceConfiguration`; none in `isolated` mode and in maintenance boots.
    pub network: Option<NetworkPlan>,
}

/// A `VZLinuxBootLoader`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// `kernelURL`: an uncompressed arm64 `Image`.
    pub kernel: AbsPath,
    /// `initialRamdiskURL`.
    pub initramfs: AbsPath,
    /// `commandLine`.
    pub command_line: String,
}

/// A `VZDiskImageStorageDeviceAttachment` and the device in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// `blockDeviceIdentifier`.
    pub identifier: String,
    /// The image.
    pub path: AbsPath,
    /// `readOnly`.
    pub read_only: bool,
    /// `cachingMode`.
    pub caching: Caching,
    /// `synchronizationMode`.
    pub synchronization: Synchronization,
}

/// `VZDiskImageCachingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// The framework chooses.
    Automatic,
}

/// `VZDiskImageSynchronizationMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronization {
    /// A flush of the guest reaches the host's disk, but for what the disk itself keeps back.
    Fsync,
    /// A flush of the guest is answered and nothing is done.
    None,
}

/// A `VZVirtioNetworkDeviceConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// `MACAddress`, in the form that the framework reads.
    pub mac: String,
    /// `attachment`.
    pub attachment: AttachmentPlan,
}

/// A `VZNetworkDeviceAttachment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachmentPlan {
    /// `VZNATNetworkDeviceAttachment`.
    Nat,
    /// `VZBridgedNetworkDeviceAttachment` on the interface of that identifier.
    Bridged {
        /// For example `en0`.
        interface: String,
    },
}

/// A boot that the framework can't make a machine for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to bridge to.
    #[error("the framework names no interface that a guest could be bridged to")]
    NoInterface,
    /// A layer over a disk, which is read by another VMM.
    #[error("the disk `{name}` is a layer over another one, which the framework cannot read")]
    Layered {
        /// The disk's name.
        name: String,
    },
}

/// The plan of a boot; `interfaces` are what a guest could be bridged to, best first.
pub fn plan(spec: &LaunchSpec, interfaces: &[String]) -> Result<MachinePlan, PlanError> {
    let root = disk_plan(ROOT_IDENTIFIER.to_owned(), &spec.root_disk)?;
    let mut disks = vec![root];
    for (index, disk) in spec.disks.iter().enumerate() {
        disks.push(disk_plan(data_identifier(index), disk)?);
    }
    let network = spec.nic.as_ref();
    Ok(MachinePlan {
        cpus: u32::from(spec.cpus.get()),
        memory_bytes: spec.memory.bytes(),
        boot: BootPlan {
            kernel: spec.kernel.clone(),
            initramfs: spec.initramfs.clone(),
            command_line: spec.command_line.clone(),
        },
        disks,
        network: network
            .map(|nic| network_plan(nic, interfaces))
            .transpose()?,
    })
}

fn disk_plan(identifier: String, disk: &Disk) -> Result<DiskPlan, PlanError> {
    if disk.base.is_some() {
        let name = disk.name.clone();
        return Err(PlanError::Layered { name });
    }
    Ok(DiskPlan {
        identifier,
        path: disk.path.clone(),
        read_only: disk.access == DiskAccess::ReadOnly,
        caching: Caching::Automatic,
        synchronization: match disk.durability {
            Durability::Kept => Synchronization::Fsync,
            Durability::ThrownAway => Synchronization::None,
        },
    })
}

fn network_plan(nic: &GuestNic, interfaces: &[String]) -> Result<NetworkPlan, PlanError> {
    let attachment = match nic.mode {
        NetworkMode::Nat | NetworkMode::Isolated => AttachmentPlan::Nat,
        NetworkMode::Bridged => AttachmentPlan::Bridged {
            interface: interfaces.first().ok_or(PlanError::NoInterface)?.clone(),
        },
    };
    Ok(NetworkPlan {
        mac: Mac(nic.mac).to_string(),
        attachment,
    })
}

struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.0.map(|byte| format!("{byte:02x}"));
        formatter.write_str(&pairs.join(":"))
    }
}

/// The name under which failures of the framework are reported.
pub(crate) const COMPONENT: &str = "Virtualization.framework";

/// This backend.
pub(crate) const NAME: BackendName = BackendName::AppleVf;

#[cfg(test)]
mod tests;
