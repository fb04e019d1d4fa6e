//! What is kept for a name of an image: a small file in `names/`.
//!
//! It is replaced whole when the name moves, so a reader needs no lock.

use microagent_types::{Arch, Digest, ImageRef};
use serde::{Deserialize, Serialize};

/// The form of the record that this code writes, and the only one it reads.
pub const SCHEMA: u32 = 1;

/// A name, and the image that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The name, every default filled in.
    pub reference: ImageRef,
    /// For which processor: one name may stand for an image of each.
    pub arch: Arch,
    /// The image.
    pub digest: Digest,
    /// What the name stands for in its registry, when that is an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Digest>,
    /// Since when it has been this image's, in RFC 3339.
    pub set_at: String,
}
