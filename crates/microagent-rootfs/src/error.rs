//! Why an image did not become a disk.

use std::{io, path::PathBuf};

use microagent_ext4::ImageError;
use microagent_oci::OciError;
use microagent_os::{FsError, dirs::PrivateFolderError, lock::LockError};
use microagent_tar::TarError;
use microagent_types::{ByteSize, Digest};
use thiserror::Error;

use crate::{entry::PathError, flatten::FlattenError};

/// An image could not be built, found or published.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// The source is not usable.
    #[error(transparent)]
    Source(#[from] OciError),
    /// A layer is not a readable archive.
    #[error("the layer `{layer}` cannot be read")]
    Archive {
        /// Which.
        layer: String,
        /// Why.
        source: TarError,
    },
    /// An entry has a path that no image may have.
    #[error("the layer `{layer}` is refused")]
    Path {
        /// Which.
        layer: String,
        /// Which entry, and why.
        source: PathError,
    },
    /// An entry does not fit onto what is below it.
    #[error("the layer `{layer}` does not fit the image")]
    Flatten {
        /// Which.
        layer: String,
        /// Which entry, and why.
        source: FlattenError,
    },
    /// The tree does not fit into a disk.
    #[error("the disk of the image cannot be made")]
    Disk(#[source] ImageError),
    /// There is no room on the host.
    #[error("`{}` has {available} free, which is not enough for the image", path.display())]
    NoSpace {
        /// The folder of the images.
        path: PathBuf,
        /// What is free there, after everything of this attempt was removed.
        available: ByteSize,
    },
    /// There is less room on the host than the layers alone take.
    #[error("`{}` has {available} free and {needed} are needed", path.display())]
    NoRoom {
        /// The folder of the images.
        path: PathBuf,
        /// What is free there.
        available: ByteSize,
        /// What the layers take.
        needed: ByteSize,
    },
    /// The image needs more than the disk that was asked for.
    #[error("the image needs {needed} and the disk has {given}")]
    TooSmall {
        /// What would do.
        needed: ByteSize,
        /// What was asked for.
        given: ByteSize,
    },
    /// A file of the cache can't be used.
    #[error("cannot use the image cache")]
    Cache(#[from] FsError),
    /// The folder of the cache is not ours alone.
    #[error("cannot use the image cache")]
    CacheFolder(#[from] PrivateFolderError),
    /// Another process is publishing for too long.
    #[error("another process holds the image cache")]
    Locked(#[from] LockError),
    /// A record of a finished image can't be written down.
    #[error("cannot describe the image")]
    Record(#[from] serde_json::Error),
    /// Nothing in the cache has that digest.
    #[error("there is no stored image `{prefix}`")]
    NotStored {
        /// What was asked for.
        prefix: String,
    },
    /// Several images in the cache begin so.
    #[error("`{prefix}` is the beginning of several stored images")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
    },
    /// There is a file where the disk should be written.
    #[error("`{}` is there already", path.display())]
    OutputTaken {
        /// Which.
        path: PathBuf,
    },
    /// A stored image is asked for in another size than its own, and came from an archive.
    #[error("the layers of the stored image are not kept, so no other disk can be made of it")]
    SizeOfStored,
    /// Somebody builds it, or clones its disk.
    #[error("the image `{reference}` is in use")]
    InUse {
        /// What was asked for.
        reference: String,
    },
    /// Somebody asked for an end.
    #[error("building the image was interrupted")]
    Cancelled,
}

impl RootfsError {
    /// True when the host's disk is full.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::NoRoom { .. } => true,
            Self::Cache(error) => error.is_out_of_space(),
            Self::Disk(ImageError::Write { source, .. }) => is_full(source),
            _ => false,
        }
    }

    /// True when the work was given up on request.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Source(OciError::Cancelled))
    }

    /// True when a registry may answer later.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Source(error) => error
                .registry()
                .is_some_and(microagent_oci::registry::RegistryError::is_unavailable),
            _ => false,
        }
    }

    /// The blob whose bytes are wrong.
    pub(crate) fn damaged_blob(&self) -> Option<Digest> {
        match self {
            Self::Source(
                OciError::DigestMismatch { blob, .. }
                | OciError::ContentMismatch { blob, .. }
                | OciError::SizeMismatch { blob, .. }
                | OciError::Decompress { blob, .. }
                | OciError::Download { blob, .. },
            ) => blob.parse().ok(),
            _ => None,
        }
    }

    /// True when bytes of the source are not what they should be.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Source(error) => error.is_integrity(),
            Self::Flatten { source, .. } => !matches!(source, FlattenError::IndexFull { .. }),
            Self::Archive { .. } | Self::Path { .. } => true,
            _ => false,
        }
    }

    /// True when the image is sound and more than we, or ext4, can hold.
    pub fn is_beyond_limits(&self) -> bool {
        match self {
            Self::Flatten { source, .. } => matches!(source, FlattenError::IndexFull { .. }),
            Self::Disk(error) => !matches!(error, ImageError::Write { .. }),
            _ => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl From<ImageError> for RootfsError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::TooSmall {
                needed_bytes,
                given_bytes,
            } => Self::TooSmall {
                needed: ByteSize::from_bytes(needed_bytes),
                given: ByteSize::from_bytes(given_bytes),
            },
            error => Self::Disk(error),
        }
    }
}
