//! The configuration of an image: what it wants to run, and what its layers contain.

use std::collections::BTreeMap;

use microagent_types::Digest;
use serde::{Deserialize, Deserializer};

use crate::{
    error::OciError,
    limits::LAYERS_MAX,
    manifest::{bounded, document},
};

/// What an image wants to run and how. Empty for a root file system tarball.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The first words of the command.
    pub entrypoint: Vec<String>,
    /// The other words, which a caller may replace.
    pub command: Vec<String>,
    /// `KEY=VALUE`, as the image has them.
    pub env: Vec<String>,
    /// `NAME|UID[:GROUP|GID]`.
    pub user: Option<String>,
    /// Where the command starts.
    pub workdir: Option<String>,
    /// How the command is asked to end.
    pub stop_signal: Option<String>,
    /// `80/tcp` and so on.
    pub exposed_ports: Vec<String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
}

impl ImageConfig {
    /// Reads it from `bytes`, the content of `blob`.
    pub fn parse(blob: &str, bytes: &[u8]) -> Result<Self, OciError> {
        Ok(ConfigDocument::parse(blob, bytes)?.config)
    }
}

/// The document as it is read.
#[derive(Debug, Clone)]
pub(crate) struct ConfigDocument {
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) created: Option<String>,
    pub(crate) config: ImageConfig,
    /// The SHA-256 of each layer after decompression.
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default)]
    created: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    config: Fields,
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Fields {
    #[serde(deserialize_with = "or_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    env: Vec<String>,
    user: Option<String>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    #[serde(deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

impl ConfigDocument {
    pub(crate) fn parse(blob: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let parsed: Document = document(blob, bytes)?;
        bounded(blob, "layers", parsed.rootfs.diff_ids.len(), LAYERS_MAX)?;
        let fields = parsed.config;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            architecture: parsed.architecture,
            os: parsed.os,
            created: parsed.created,
            config: ImageConfig {
                entrypoint: fields.entrypoint,
                command: fields.cmd,
                env: fields.env,
                user: filled(fields.user),
                workdir: filled(fields.working_dir),
                stop_signal: filled(fields.stop_signal),
                exposed_ports: fields.exposed_ports.into_keys().collect(),
                labels: fields.labels,
            },
            diff_ids: parsed.rootfs.diff_ids,
        })
    }
}

/// Builders write `null` where they mean nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_missing_fields_mean_nothing() {
        let text = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Env":null,
            "User":"","Labels":null,"ExposedPorts":{"80/tcp":{}}},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let parsed = ConfigDocument::parse("c", text).unwrap();
        assert_eq!(parsed.config.command, Vec::<String>::new());
        assert_eq!(parsed.config.user, None);
        assert_eq!(parsed.config.exposed_ports, ["80/tcp"]);
        assert!(parsed.diff_ids.is_empty());
        let bare = ConfigDocument::parse("c", br#"{"config":null,"rootfs":{}}"#).unwrap();
        assert_eq!(bare.config, ImageConfig::default());
    }

    #[test]
    fn a_document_without_layers_field_is_refused_by_name() {
        let error = ConfigDocument::parse("sha256:12", br#"{"config":{}}"#).unwrap_err();
        assert_eq!(error.to_string(), "the document `sha256:12` is damaged");
    }
}
