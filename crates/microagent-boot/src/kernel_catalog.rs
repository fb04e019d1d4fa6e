//! `kernel.json`: what is known of a kernel image, beside the image; `pinned.json`: where the images of a release
//! are.

use microagent_types::{Sha256Hex, Timestamp};
use serde::{Deserialize, Serialize};

/// The record of an installed kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelRecord {
    /// Always 1.
    pub schema: u32,
    /// The kernel's version, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The image's SHA-256.
    pub sha256: Sha256Hex,
    /// `default`, or where it came from.
    #[serde(default)]
    pub source: String,
    /// When it was installed; absent in the record that a package ships.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_at: Option<Timestamp>,
}

/// The list of a release's kernels, for an installation that does not bring them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PinnedList {
    /// Each backend and architecture at most once; the first counts.
    pub(crate) kernels: Vec<PinnedEntry>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PinnedEntry {
    /// A backend's name; one that is unknown here is passed over.
    pub(crate) backend: String,
    /// An architecture's name, likewise.
    pub(crate) arch: String,
    /// Where the image is.
    pub(crate) url: String,
    /// What it must hash to.
    pub(crate) sha256: Sha256Hex,
    /// Its version, when it is known.
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// The source of a kernel that came with this installation.
pub const SOURCE_DEFAULT: &str = "default";
/// The source of a kernel that a person installed from a file.
pub const SOURCE_FILE: &str = "file";
/// The source of a kernel that a person installed from an address.
pub const SOURCE_URL: &str = "url";
/// The schema that this release reads and writes.
pub const SCHEMA: u32 = 1;
/// Largest `kernel.json`, in bytes.
pub const RECORD_BYTES_MAX: u64 = 64 << 10;
/// Largest kernel image, in bytes.
pub const IMAGE_BYTES_MAX: u64 = 256 << 20;

/// Why a record is none.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It is no such JSON.
    #[error("the kernel record cannot be read")]
    Malformed(#[from] serde_json::Error),
    /// A newer release wrote it.
    #[error("the kernel record has schema {found}, this release knows {SCHEMA}")]
    Newer {
        /// What it says.
        found: u32,
    },
}

impl KernelRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is malformed or newer than this release.
    pub fn parse(bytes: &[u8]) -> Result<Self, CatalogError> {
        let record: Self = serde_json::from_slice(bytes)?;
        if record.schema != SCHEMA {
            return Err(CatalogError::Newer {
                found: record.schema,
            });
        }
        Ok(record)
    }

    /// The bytes of a record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("string keys only");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{CatalogError, KernelRecord};

    #[test]
    fn a_shipped_record_is_read_and_a_newer_one_refused() {
        let sha = "0".repeat(64);
        let shipped = format!(
            r#"{{"schema":1,"version":"6.12","sha256":"{sha}","source":"x","arch":"amd64"}}"#
        );
        let record = KernelRecord::parse(shipped.as_bytes()).unwrap();
        assert_eq!(record.version.as_deref(), Some("6.12"));
        let newer = KernelRecord::parse(shipped.replace("\"schema\":1", "\"schema\":2").as_bytes());
        assert!(matches!(newer, Err(CatalogError::Newer { found: 2 })));
        assert_eq!(KernelRecord::parse(&record.to_bytes()).unwrap(), record);
    }
}
