//! From settings to the Config that a supervisor prepares. Pure.

use crate::image_ready::ReadyImage;
use crate::workload::SizeSettings;
use microagent_boot::initramfs::Initramfs;
use microagent_boot::kernel_store::InstalledKernel;
use microagent_types::{
    AbsPath, Arch, Environment, InvalidText, LabelName, MediationPort, MediationTarget, Opening,
    PublishSpec, WorkspaceName,
};
use microagent_wire::supervisor::spec::{
    Config, DiskConfig, DiskFormat, FileConfig, HashedFile, ImageRecord, KernelFile,
    MediationConfig, NetworkConfig, NetworkMode, PublishConfig, RootDiskConfig, WorkloadConfig,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A declared mediation channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediationSettings {
    /// The vsock port that the guest dials.
    pub port: MediationPort,
    /// Where it leads.
    pub target: MediationTarget,
    /// Whether a start needs it.
    pub required: bool,
}

/// What a workspace may reach and what may reach it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The kind of network.
    pub mode: NetworkMode,
    /// Name servers, at most three.
    pub dns: Vec<IpAddr>,
    /// What near the host is opened to the guest.
    pub reach: Vec<Opening>,
    /// Published ports.
    pub publish: Vec<PublishSpec>,
    /// The mediation channel.
    pub mediation: Option<MediationSettings>,
}

/// Everything that a new workspace is made of.
#[derive(Debug)]
pub(crate) struct NewWorkspace<'a> {
    pub(crate) arch: Arch,
    pub(crate) kernel: &'a InstalledKernel,
    pub(crate) custom_kernel: bool,
    pub(crate) initramfs: &'a Initramfs,
    pub(crate) image: &'a ReadyImage,
    pub(crate) size: SizeSettings,
    pub(crate) disks: Vec<DiskConfig>,
    pub(crate) files: Vec<FileConfig>,
    pub(crate) hostname: Option<WorkspaceName>,
    pub(crate) workload: Option<WorkloadConfig>,
    pub(crate) env: Environment,
    pub(crate) network: &'a NetworkSettings,
    pub(crate) labels: &'a BTreeMap<LabelName, String>,
    pub(crate) ephemeral: bool,
}

impl NewWorkspace<'_> {
    /// The Config, every default of the profile filled in.
    pub(crate) fn config(&self) -> Result<Config, InvalidText> {
        let size = self.size;
        let profile = size.profile;
        Ok(Config {
            arch: Some(self.arch),
            cpus: size.cpus.unwrap_or_else(|| profile.cpus()),
            memory_bytes: size.memory.unwrap_or_else(|| profile.memory()),
            kernel: KernelFile {
                path: AbsPath::try_from(self.kernel.path.as_path())?,
                sha256: self.kernel.sha256,
                custom: self.custom_kernel,
            },
            initramfs: HashedFile {
                path: AbsPath::try_from(self.initramfs.path.as_path())?,
                sha256: self.initramfs.sha256,
            },
            root_disk: RootDiskConfig {
                path: None,
                format: DiskFormat::Raw,
                size_bytes: size.disk_size(),
                clone_from: Some(AbsPath::try_from(self.image.disk.as_path())?),
                clone: None,
            },
            disks: self.disks.clone(),
            hostname: self.hostname.clone(),
            workload: self.workload.clone(),
            env: self.env.clone(),
            files: self.files.clone(),
            network: NetworkConfig {
                mode: self.network.mode,
                dns: self.network.dns.clone(),
                reach: self.network.reach.clone(),
                publish: self.network.publish.iter().map(publish_config).collect(),
            },
            mediation: self
                .network
                .mediation
                .as_ref()
                .map(|mediation| MediationConfig {
                    port: mediation.port,
                    target: mediation.target.clone(),
                    required: mediation.required,
                }),
            image: Some(ImageRecord {
                reference: Some(self.image.reference.clone()),
                digest: Some(self.image.digest),
                source: Some(self.image.source_kind.to_owned()),
                builder: Some(self.image.builder.clone()),
            }),
            profile: Some(profile.as_str().to_owned()),
            labels: self.labels.clone(),
            ephemeral: self.ephemeral,
        })
    }
}

/// A published port, as it is asked for.
pub(crate) fn publish_config(publish: &PublishSpec) -> PublishConfig {
    PublishConfig {
        host: publish.host,
        host_port: publish.host_port,
        guest_port: publish.guest_port,
    }
}
