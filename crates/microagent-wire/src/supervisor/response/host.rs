//! What a host and one backend on it can do.

use crate::supervisor::spec::NetworkMode;
use microagent_types::{AbsPath, Arch, BackendName, ByteSize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a host and one backend can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// `linux`, `macos` or `windows`.
    pub os: String,
    /// Its version.
    pub os_version: String,
    /// Its architecture.
    pub arch: Arch,
    /// Its processors.
    pub cpus: u32,
    /// Its memory.
    pub memory_bytes: ByteSize,
    /// The supervisor's own backend.
    pub backends: Vec<BackendReport>,
    /// `/dev/kvm`, on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kvm: Option<KvmReport>,
    /// What the next start would use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Helper programs.
    #[serde(default)]
    pub programs: Vec<ProgramReport>,
    /// How VMs are confined here.
    pub confinement: ConfinementReport,
    /// Which networks there can be.
    #[serde(default)]
    pub network_modes: Vec<NetworkModeReport>,
    /// Whether this process has administrator rights, on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<bool>,
    /// What the binary may do, on macOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitlements: Option<EntitlementsReport>,
    /// What the backend can do, by word.
    #[serde(default)]
    pub capabilities: BTreeMap<String, bool>,
    /// How much of it.
    pub limits: HostLimits,
}

/// A backend on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    /// Which.
    pub name: BackendName,
    /// Whether it can start a VM.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its VMM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<AbsPath>,
    /// The VMM's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The supervisor that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<AbsPath>,
}

/// What `/dev/kvm` is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KvmReport {
    /// It is there.
    pub present: bool,
    /// It opens for reading and writing.
    pub openable: bool,
    /// Its API version; 12 is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<i32>,
    /// The processor shows `vmx` or `svm`; true where that question does not arise.
    pub cpu_flag: bool,
    /// All of it.
    pub usable: bool,
    /// `on` or `off`, when the probe is overridden.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<String>,
}

/// A helper program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Whether it is there.
    pub found: bool,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<AbsPath>,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How VMs are confined on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfinementReport {
    /// A start needs all parts.
    pub required: bool,
    /// Every part.
    #[serde(default)]
    pub parts: Vec<ConfinementPart>,
}

/// One part of confinement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfinementPart {
    /// Its word.
    pub name: String,
    /// Whether a VM would have it.
    pub active: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A network mode on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkModeReport {
    /// Which.
    pub mode: NetworkMode,
    /// Whether it can be had.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a signed binary may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntitlementsReport {
    /// `com.apple.security.virtualization`.
    pub virtualization: bool,
    /// `com.apple.vm.networking`.
    pub networking: bool,
}

/// How much a backend can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostLimits {
    /// Virtual CPUs of one workspace.
    pub cpus: u32,
    /// Data disks of one workspace.
    pub disks: u32,
    /// Memory of one workspace.
    pub memory_bytes: ByteSize,
}
