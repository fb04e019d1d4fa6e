//! Where fetched blobs are kept, as the one who fetches sees it.
//!
//! The keeper decides where files lie, who else may be fetching the same blob and what becomes of
//! it afterwards; this crate only fills a file and says that it was right.

use std::{fs::File, sync::Arc};

use microagent_os::FsError;
use microagent_types::Digest;
use thiserror::Error;

/// Keeps blobs by digest.
pub trait BlobPlace: Send + Sync {
    /// The blob as it was kept before, or the right to fetch it. Does not wait.
    fn claim(&self, digest: Digest, size: u64) -> Result<Claim, PlaceError>;
}

/// Whose turn it is.
pub enum Claim {
    /// It is there; whoever reads it compares its digest.
    Stored(File),
    /// It is to be fetched into this.
    Fetch(Box<dyn Landing>),
    /// Somebody else is fetching it. Ask again in a moment.
    Busy,
}

/// A file to be filled. Dropping it removes it, unless it was published.
pub trait Landing: Send {
    /// The empty file.
    fn file(&self) -> Arc<File>;
    /// The bytes are all there and right: keep them. It need not survive a power cut, since whoever
    /// takes the blob up later compares its digest; it must not wait for the disk.
    fn publish(self: Box<Self>) -> Result<(), PlaceError>;
}

/// A blob can't be kept.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct PlaceError(#[from] pub FsError);
