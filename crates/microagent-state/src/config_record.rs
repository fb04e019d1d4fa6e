//! The Config of a workspace as its record holds it, with every default filled in.
//!
//! The record's form, not the machine's: conversion both ways is written out, so that the inside
//! may change shape while files stay. Checking what fields may hold together is the spec's job.

use std::collections::BTreeMap;
use std::net::IpAddr;

use microagent_machine::UnknownWord;
use microagent_machine::spec::{
    DataDisk, FirstBootFiles, ImageOrigin, Initramfs, Kernel, KernelPin, Lifetime, MachineSpec,
    Mediation, Network, Ownership, Requirement, RootDisk, Workload,
};
use microagent_types::{
    AbsPath, Arch, ByteSize, Digest, DiskName, Environment, GuestPath, GuestPort, HostPort,
    InvalidText, LabelName, MediationPort, MediationTarget, Opening, PublishSpec, Sha256Hex,
    SignalName, VcpuCount, WorkspaceName,
};
use serde::{Deserialize, Serialize};

/// A recorded Config that is no spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An enumerated word that this version does not know.
    #[error("recorded config has a word that is not known")]
    Word(#[from] UnknownWord),
    /// A text that does not have its form.
    #[error("recorded config has a value that is not valid")]
    Text(#[from] InvalidText),
}

/// What `prepare` stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRecord {
    /// The guest's architecture.
    pub arch: Arch,
    /// Virtual CPUs.
    pub cpus: VcpuCount,
    /// Memory.
    pub memory_bytes: ByteSize,
    /// The kernel.
    pub kernel: KernelRecord,
    /// The initramfs.
    pub initramfs: InitramfsRecord,
    /// The root disk.
    pub root_disk: RootDiskRecord,
    /// Data disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DataDiskRecord>,
    /// The guest's name.
    pub hostname: WorkspaceName,
    /// What runs at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRecord>,
    /// Environment of every session.
    #[serde(default, skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// Files for the first boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilesRecord>,
    /// The network.
    pub network: NetworkConfigRecord,
    /// The mediation channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mediation: Option<MediationRecord>,
    /// Where the disk's content comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRecord>,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelName, String>,
    /// Goes when its run ends.
    #[serde(default)]
    pub ephemeral: bool,
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelRecord {
    /// Where it is.
    pub path: AbsPath,
    /// Its hash.
    pub sha256: Sha256Hex,
    /// Pinned.
    pub custom: bool,
}

/// The initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitramfsRecord {
    /// Where it is.
    pub path: AbsPath,
    /// Its hash.
    pub sha256: Sha256Hex,
}

/// The root disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootDiskRecord {
    /// Where it is.
    pub path: AbsPath,
    /// `raw` or `vhd`.
    pub format: String,
    /// Its length.
    pub size_bytes: ByteSize,
    /// The image that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_from: Option<AbsPath>,
    /// `reflink` or `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<String>,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataDiskRecord {
    /// Its name.
    pub name: DiskName,
    /// Where it is.
    pub path: AbsPath,
    /// Where the guest mounts it.
    pub mount: GuestPath,
    /// `rw` or `ro`.
    pub mode: String,
    /// Goes with the workspace.
    pub owned: bool,
}

/// What runs at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRecord {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// Who runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where.
    pub workdir: GuestPath,
    /// What asks it to end.
    pub stop_signal: SignalName,
}

/// Files for the first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesRecord {
    /// A tar on the host.
    pub source: AbsPath,
    /// A folder of the guest.
    pub target: GuestPath,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfigRecord {
    /// `nat`, `isolated` or `bridged`.
    pub mode: String,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// What near the host is opened to the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reach: Vec<Opening>,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishRecord>,
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishRecord {
    /// Where the host listens.
    pub host: IpAddr,
    /// The port there.
    pub host_port: HostPort,
    /// The port in the guest.
    pub guest_port: GuestPort,
}

/// The mediation channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediationRecord {
    /// What the guest dials.
    pub port: MediationPort,
    /// What the host connects it to.
    pub target: MediationTarget,
    /// Whether a start needs it.
    pub required: bool,
}

/// Where the disk's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// As the user wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The kind of source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who built the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

impl From<PublishSpec> for PublishRecord {
    fn from(spec: PublishSpec) -> Self {
        Self {
            host: spec.host,
            host_port: spec.host_port,
            guest_port: spec.guest_port,
        }
    }
}

impl From<PublishRecord> for PublishSpec {
    fn from(record: PublishRecord) -> Self {
        Self {
            host: record.host,
            host_port: record.host_port,
            guest_port: record.guest_port,
        }
    }
}

impl From<&MachineSpec> for ConfigRecord {
    fn from(spec: &MachineSpec) -> Self {
        Self {
            arch: spec.arch,
            cpus: spec.cpus,
            memory_bytes: spec.memory,
            kernel: KernelRecord {
                path: spec.kernel.path.clone(),
                sha256: spec.kernel.sha256,
                custom: spec.kernel.pin == KernelPin::Pinned,
            },
            initramfs: InitramfsRecord {
                path: spec.initramfs.path.clone(),
                sha256: spec.initramfs.sha256,
            },
            root_disk: RootDiskRecord {
                path: spec.root_disk.path.clone(),
                format: spec.root_disk.format.to_string(),
                size_bytes: spec.root_disk.size,
                clone_from: spec.root_disk.clone_from.clone(),
                clone: spec.root_disk.clone.map(|method| method.to_string()),
            },
            disks: spec.disks.iter().map(disk_record).collect(),
            hostname: spec.hostname.clone(),
            workload: spec.workload.as_ref().map(workload_record),
            env: spec.env.clone(),
            files: spec.files.iter().map(files_record).collect(),
            network: NetworkConfigRecord {
                mode: spec.network.mode.to_string(),
                dns: spec.network.dns.clone(),
                reach: spec.network.reach.clone(),
                publish: spec
                    .network
                    .publish
                    .iter()
                    .copied()
                    .map(Into::into)
                    .collect(),
            },
            mediation: spec.mediation.as_ref().map(|mediation| MediationRecord {
                port: mediation.port,
                target: mediation.target.clone(),
                required: mediation.requirement == Requirement::Required,
            }),
            image: spec.image.clone().map(|image| ImageRecord {
                reference: image.reference,
                digest: image.digest,
                source: image.source,
                builder: image.builder,
            }),
            profile: spec.profile.clone(),
            labels: spec.labels.clone(),
            ephemeral: spec.lifetime == Lifetime::Ephemeral,
        }
    }
}

fn disk_record(disk: &DataDisk) -> DataDiskRecord {
    DataDiskRecord {
        name: disk.name.clone(),
        path: disk.path.clone(),
        mount: disk.mount.clone(),
        mode: disk.access.to_string(),
        owned: disk.ownership == Ownership::Owned,
    }
}

fn workload_record(workload: &Workload) -> WorkloadRecord {
    WorkloadRecord {
        argv: workload.argv.clone(),
        env: workload.env.clone(),
        user: workload.user.as_ref().map(|user| user.as_str().to_owned()),
        workdir: workload.workdir.clone(),
        stop_signal: workload.stop_signal,
    }
}

fn files_record(files: &FirstBootFiles) -> FilesRecord {
    FilesRecord {
        source: files.source.clone(),
        target: files.target.clone(),
    }
}

impl TryFrom<&ConfigRecord> for MachineSpec {
    type Error = ConfigError;

    fn try_from(record: &ConfigRecord) -> Result<Self, ConfigError> {
        Ok(Self {
            arch: record.arch,
            cpus: record.cpus,
            memory: record.memory_bytes,
            kernel: Kernel {
                path: record.kernel.path.clone(),
                sha256: record.kernel.sha256,
                pin: if record.kernel.custom {
                    KernelPin::Pinned
                } else {
                    KernelPin::Default
                },
            },
            initramfs: Initramfs {
                path: record.initramfs.path.clone(),
                sha256: record.initramfs.sha256,
            },
            root_disk: RootDisk {
                path: record.root_disk.path.clone(),
                format: record.root_disk.format.parse()?,
                size: record.root_disk.size_bytes,
                clone_from: record.root_disk.clone_from.clone(),
                clone: record
                    .root_disk
                    .clone
                    .as_deref()
                    .map(str::parse)
                    .transpose()?,
            },
            disks: record.disks.iter().map(disk_of).collect::<Result<_, _>>()?,
            hostname: record.hostname.clone(),
            workload: record.workload.as_ref().map(workload_of).transpose()?,
            env: record.env.clone(),
            files: record.files.iter().map(files_of).collect(),
            network: Network {
                mode: record.network.mode.parse()?,
                dns: record.network.dns.clone(),
                reach: record.network.reach.clone(),
                publish: record
                    .network
                    .publish
                    .iter()
                    .copied()
                    .map(Into::into)
                    .collect(),
            },
            mediation: record.mediation.as_ref().map(mediation_of),
            image: record.image.clone().map(|image| ImageOrigin {
                reference: image.reference,
                digest: image.digest,
                source: image.source,
                builder: image.builder,
            }),
            profile: record.profile.clone(),
            labels: record.labels.clone(),
            lifetime: if record.ephemeral {
                Lifetime::Ephemeral
            } else {
                Lifetime::Kept
            },
        })
    }
}

fn disk_of(record: &DataDiskRecord) -> Result<DataDisk, ConfigError> {
    Ok(DataDisk {
        name: record.name.clone(),
        path: record.path.clone(),
        mount: record.mount.clone(),
        access: record.mode.parse()?,
        ownership: if record.owned {
            Ownership::Owned
        } else {
            Ownership::Foreign
        },
    })
}

fn workload_of(record: &WorkloadRecord) -> Result<Workload, ConfigError> {
    Ok(Workload {
        argv: record.argv.clone(),
        env: record.env.clone(),
        user: record.user.as_deref().map(str::parse).transpose()?,
        workdir: record.workdir.clone(),
        stop_signal: record.stop_signal,
    })
}

fn files_of(record: &FilesRecord) -> FirstBootFiles {
    FirstBootFiles {
        source: record.source.clone(),
        target: record.target.clone(),
    }
}

fn mediation_of(record: &MediationRecord) -> Mediation {
    Mediation {
        port: record.port,
        target: record.target.clone(),
        requirement: if record.required {
            Requirement::Required
        } else {
            Requirement::Optional
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use microagent_machine::spec::{CloneMethod, DiskAccess, DiskFormat, NetworkMode};

    /// A spec in which nothing is left at its default.
    pub(crate) fn full_spec() -> MachineSpec {
        let mut env = Environment::new();
        env.set("MODE".parse().unwrap(), "work".to_owned()).unwrap();
        MachineSpec {
            arch: Arch::Amd64,
            cpus: VcpuCount::new(2).unwrap(),
            memory: ByteSize::from_mib(1024),
            kernel: Kernel {
                path: "/k/Image".parse().unwrap(),
                sha256: Sha256Hex::from_bytes([1; 32]),
                pin: KernelPin::Pinned,
            },
            initramfs: Initramfs {
                path: "/k/init.cpio".parse().unwrap(),
                sha256: Sha256Hex::from_bytes([2; 32]),
            },
            root_disk: RootDisk {
                path: "/s/workspaces/scout/rootfs.ext4".parse().unwrap(),
                format: DiskFormat::Raw,
                size: ByteSize::from_mib(8192),
                clone_from: Some("/s/images/x/disk.ext4".parse().unwrap()),
                clone: Some(CloneMethod::Copy),
            },
            disks: vec![DataDisk {
                name: "data".parse().unwrap(),
                path: "/d/data.ext4".parse().unwrap(),
                mount: "/data".parse().unwrap(),
                access: DiskAccess::ReadOnly,
                ownership: Ownership::Owned,
            }],
            hostname: "scout".parse().unwrap(),
            workload: Some(Workload {
                argv: vec!["python".to_owned(), "/srv/bot.py".to_owned()],
                env: env.clone(),
                user: Some("bot:staff".parse().unwrap()),
                workdir: "/srv".parse().unwrap(),
                stop_signal: SignalName::INT,
            }),
            env,
            files: vec![FirstBootFiles {
                source: "/s/workspaces/scout/files/0.tar".parse().unwrap(),
                target: "/etc".parse().unwrap(),
            }],
            network: Network {
                mode: NetworkMode::Isolated,
                dns: vec!["9.9.9.9".parse().unwrap()],
                reach: vec![Opening::Loopback],
                publish: vec!["127.0.0.1:8088:80".parse().unwrap()],
            },
            mediation: Some(Mediation {
                port: MediationPort::new(2048).unwrap(),
                target: "unix:/run/c.sock".parse().unwrap(),
                requirement: Requirement::Optional,
            }),
            image: Some(ImageOrigin {
                reference: Some("oci:./image".to_owned()),
                digest: Some(Digest::sha256(Sha256Hex::from_bytes([3; 32]))),
                source: Some("oci".to_owned()),
                builder: Some("b1".to_owned()),
            }),
            profile: Some("py".to_owned()),
            labels: BTreeMap::from([("team".parse().unwrap(), "x".to_owned())]),
            lifetime: Lifetime::Ephemeral,
        }
    }

    #[test]
    fn every_field_survives_the_record() {
        let spec = full_spec();
        let record = ConfigRecord::from(&spec);
        let text = serde_json::to_string(&record).unwrap();
        let read: ConfigRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(MachineSpec::try_from(&read).unwrap(), spec);
    }

    #[test]
    fn an_unknown_word_is_refused_by_name() {
        let mut record = ConfigRecord::from(&full_spec());
        record.network.mode = "host".to_owned();
        assert!(matches!(
            MachineSpec::try_from(&record),
            Err(ConfigError::Word(_))
        ));
        let mut record = ConfigRecord::from(&full_spec());
        record.workload.as_mut().unwrap().user = Some("a b".to_owned());
        assert!(matches!(
            MachineSpec::try_from(&record),
            Err(ConfigError::Text(_))
        ));
    }
}
