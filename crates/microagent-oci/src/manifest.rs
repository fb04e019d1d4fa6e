//! Index and manifest, of OCI and of Docker's second schema: the same fields under other names.

use std::collections::BTreeMap;

use microagent_types::Digest;
use serde::Deserialize;

use crate::{
    error::{DocumentProblem, OciError},
    limits::{INDEX_ENTRIES_MAX, LAYERS_MAX},
};

/// Points to a blob and says what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// For which processor, when it is one of several.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Free text; the reference name is in here.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Operating system and processor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `linux` and others.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64` and others.
    #[serde(default)]
    pub architecture: String,
    /// A generation of the processor.
    #[serde(default)]
    pub variant: Option<String>,
}

impl Descriptor {
    /// The name under which an index lists the image.
    pub fn reference_name(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        annotations
            .get("org.opencontainers.image.ref.name")
            .map(String::as_str)
    }

    /// Whether it stands beside an image to say how that was built.
    pub fn is_attestation(&self) -> bool {
        self.platform
            .as_ref()
            .is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }
}

/// A list of images.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    /// What it lists.
    pub manifests: Vec<Descriptor>,
}

/// One image: its configuration and its layers, lowest first.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers.
    pub layers: Vec<Descriptor>,
}

/// A document that is one or the other; the field that is there decides.
#[derive(Debug, Clone)]
pub enum IndexOrManifest {
    /// A list of images.
    Index(Index),
    /// An image.
    Manifest(Manifest),
}

/// Only to see which fields there are.
#[derive(Deserialize)]
struct Shape {
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

impl IndexOrManifest {
    /// Parses `bytes`, the content of `blob`.
    pub fn parse(blob: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let shape: Shape = document(blob, bytes)?;
        match (shape.manifests, shape.config) {
            (Some(_), _) => Index::parse(blob, bytes).map(Self::Index),
            (None, Some(_)) => {
                let manifest: Manifest = document(blob, bytes)?;
                bounded(blob, "layers", manifest.layers.len(), LAYERS_MAX)?;
                Ok(Self::Manifest(manifest))
            }
            (None, None) => {
                let problem = DocumentProblem::Shape;
                Err(OciError::DocumentWrong {
                    blob: blob.to_owned(),
                    problem,
                })
            }
        }
    }
}

impl Index {
    /// Parses `bytes`, the content of `blob`.
    pub fn parse(blob: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let index: Self = document(blob, bytes)?;
        bounded(blob, "images", index.manifests.len(), INDEX_ENTRIES_MAX)?;
        Ok(index)
    }
}

/// Parses a document of any kind.
pub(crate) fn document<'a, T: Deserialize<'a>>(blob: &str, bytes: &'a [u8]) -> Result<T, OciError> {
    serde_json::from_slice(bytes).map_err(|source| OciError::DocumentInvalid {
        blob: blob.to_owned(),
        source,
    })
}

/// Refuses more of something than there may be.
pub(crate) fn bounded(
    blob: &str,
    what: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), OciError> {
    if count <= limit {
        return Ok(());
    }
    let problem = DocumentProblem::TooMany { what, count, limit };
    Err(OciError::DocumentWrong {
        blob: blob.to_owned(),
        problem,
    })
}
