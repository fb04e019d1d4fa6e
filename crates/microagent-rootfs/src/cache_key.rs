//! The name of an image in the cache: its digest and what made its disk.

use std::fmt;

use microagent_types::Digest;

/// The builder: `b`, the version of the rules of layers, a dot, the version of the layout of
/// disks. Another builder may make other bytes of the same image, so it makes another disk.
pub const BUILDER: &str = "b1.1";

const _: () = assert!(
    microagent_ext4::ext4_writer::LAYOUT_VERSION == 1,
    "a new layout is a new builder: change BUILDER too"
);

/// The folder of an image in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey(Digest);

impl CacheKey {
    /// The key of the image `digest`, built by this builder.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256-{}-{BUILDER}", self.0.hash())
    }
}
