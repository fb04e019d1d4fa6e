//! What is kept beside a disk in the cache: `image.json`.
//!
//! It holds what a later run needs without opening the source again. It is written before the
//! folder is published and never changed after, so a reader needs no lock.

use std::collections::BTreeMap;

use microagent_oci::ImageConfig;
use microagent_types::{Arch, Digest};
use serde::{Deserialize, Serialize};

/// The form of the record that this code writes, and the only one it reads.
pub const SCHEMA: u32 = 1;

/// The record of a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Identifies the content.
    pub digest: Digest,
    /// For which processor.
    pub arch: Arch,
    /// Which builder made the disk.
    pub builder: String,
    /// Where it came from first, as it was given.
    pub reference: String,
    /// The kind of that source.
    pub source: String,
    /// The name that the source had for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the image says it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When the disk was built, in RFC 3339.
    pub built_at: String,
    /// Length of the disk.
    pub size_bytes: u64,
    /// Bytes in use in it.
    pub used_bytes: u64,
    /// Files in it, of every kind.
    pub files: u64,
    /// What could not be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// Its manifest and its configuration, where they are kept beside the layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Digest>,
    /// What the image wants to run.
    pub config: ConfigRecord,
}

/// A layer of a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerRecord {
    /// Its digest, where the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its length as it was stored.
    pub size_bytes: u64,
}

impl ImageRecord {
    /// Every blob that belongs to the image.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let layers = self.layers.iter().filter_map(|layer| layer.digest);
        layers.chain(self.documents.iter().copied())
    }
}

/// What an image wants to run, written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigRecord {
    /// The first words of the command.
    pub entrypoint: Vec<String>,
    /// The other words.
    pub command: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// Who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// How it is asked to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Ports that it listens on.
    pub exposed_ports: Vec<String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
}

impl From<&ImageConfig> for ConfigRecord {
    fn from(config: &ImageConfig) -> Self {
        Self {
            entrypoint: config.entrypoint.clone(),
            command: config.command.clone(),
            env: config.env.clone(),
            user: config.user.clone(),
            workdir: config.workdir.clone(),
            stop_signal: config.stop_signal.clone(),
            exposed_ports: config.exposed_ports.clone(),
            labels: config.labels.clone(),
        }
    }
}

impl From<ConfigRecord> for ImageConfig {
    fn from(record: ConfigRecord) -> Self {
        Self {
            entrypoint: record.entrypoint,
            command: record.command,
            env: record.env,
            user: record.user,
            workdir: record.workdir,
            stop_signal: record.stop_signal,
            exposed_ports: record.exposed_ports,
            labels: record.labels,
        }
    }
}
