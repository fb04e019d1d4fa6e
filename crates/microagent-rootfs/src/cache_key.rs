//! The name of an image in the cache: its digest, what made its disk, and how large that is.

use std::fmt;

use microagent_ext4::ImageSize;
use microagent_types::Digest;

/// The builder: `b`, the version of the rules of layers, a dot, the version of the layout of
/// disks. Another builder may make other bytes of the same image, so it makes another disk.
pub const BUILDER: &str = "b1.2";
/// The same for disks of the standard size.
pub const STANDARD_BUILDER: &str = "b1.2-8g";

const _: () = assert!(
    microagent_ext4::ext4_writer::LAYOUT_VERSION == 2,
    "a new layout is a new builder: change BUILDER too"
);

/// The size of a disk of [`DiskShape::Standard`].
pub const STANDARD_BYTES: u64 = 8 << 30;

/// How large the disk of an image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskShape {
    /// 8 GiB, what most clones get: nothing has to grow at their first boot. What is free is a
    /// hole. An image that needs more gets more.
    #[default]
    Standard,
    /// What the contents need and a quarter: for a clone that shall be smaller.
    Fitted,
}

impl DiskShape {
    /// The shape for a clone of so many bytes.
    pub fn for_disk_of(bytes: u64) -> Self {
        if bytes < STANDARD_BYTES {
            Self::Fitted
        } else {
            Self::Standard
        }
    }

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Standard => Self::Fitted,
            Self::Fitted => Self::Standard,
        }
    }

    /// What the image writer is told.
    pub(crate) fn size(self) -> ImageSize {
        match self {
            Self::Standard => ImageSize::AtLeast(STANDARD_BYTES),
            Self::Fitted => ImageSize::Fit,
        }
    }

    /// The builder of disks of this shape.
    pub fn builder(self) -> &'static str {
        match self {
            Self::Standard => STANDARD_BUILDER,
            Self::Fitted => BUILDER,
        }
    }
}

/// The folder of an image in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey {
    digest: Digest,
    shape: DiskShape,
}

impl CacheKey {
    /// The key of the image `digest`, built by this builder in this shape.
    pub fn new(digest: Digest, shape: DiskShape) -> Self {
        Self { digest, shape }
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let builder = self.shape.builder();
        write!(formatter, "sha256-{}-{builder}", self.digest.hash())
    }
}
