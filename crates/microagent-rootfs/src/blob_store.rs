//! Fetched blobs, kept so that what two images share is fetched once.
//!
//! ```text
//! blobs/
//!   lock                 shared while images are pulled, exclusive while blobs are removed
//!   sha256-<hex>         whole, and right when it was written; compared again when it is read,
//!                        so that a crash or a bad disk costs a second fetch and nothing else
//!   sha256-<hex>.part    being fetched by whoever holds the lock on it
//! ```
//!
//! A blob belongs to the images whose records name it, and goes with the last of them.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use microagent_oci::registry::{BlobPlace, Claim, Landing, PlaceError};
use microagent_os::{
    FsError,
    atomic_file::{self, Existing},
    dirs, fs,
    lock::{LockError, LockFile, LockMode},
};
use microagent_types::Digest;

use crate::error::RootfsError;

const LOCK: &str = "lock";
const BLOB: &str = "sha256-";
const PART: &str = ".part";
/// How long somebody may take to remove blobs.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the blobs.
#[derive(Debug, Clone)]
pub(crate) struct BlobFolder {
    folder: PathBuf,
}

/// A blob that lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptBlob {
    pub(crate) digest: Digest,
    pub(crate) allocated_bytes: u64,
}

impl BlobFolder {
    pub(crate) fn at(images: &Path) -> Self {
        Self {
            folder: images.join("blobs"),
        }
    }

    /// Says that blobs are being used: none is removed until the lock goes.
    pub(crate) fn using(&self) -> Result<LockFile, RootfsError> {
        dirs::ensure_private(&self.folder)?;
        let lock = self.folder.join(LOCK);
        Ok(LockFile::acquire(&lock, LockMode::Shared, LOCK_PATIENCE)?)
    }

    /// The right to remove blobs, or nothing while somebody uses them.
    pub(crate) fn removing(&self) -> Result<Option<LockFile>, RootfsError> {
        if !fs::is_folder(&self.folder) {
            return Ok(None);
        }
        let lock = self.folder.join(LOCK);
        match LockFile::acquire(&lock, LockMode::Exclusive, Duration::ZERO) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The whole blobs.
    pub(crate) fn all(&self) -> Result<Vec<KeptBlob>, RootfsError> {
        if !fs::is_folder(&self.folder) {
            return Ok(Vec::new());
        }
        let mut blobs = Vec::new();
        for entry in fs::list(&self.folder)? {
            let name = entry.name.to_string_lossy();
            let digest = name
                .strip_prefix(BLOB)
                .and_then(|hex| format!("sha256:{hex}").parse().ok());
            if let Some(digest) = digest {
                // One that goes meanwhile takes no room.
                let allocated = fs::allocated_bytes(&self.folder.join(&entry.name));
                blobs.push(KeptBlob {
                    digest,
                    allocated_bytes: allocated.unwrap_or(0),
                });
            }
        }
        Ok(blobs)
    }

    /// Removes what fetchers left that are gone; how many bytes that gave back.
    pub(crate) fn sweep(&self) -> u64 {
        let Ok(entries) = fs::list(&self.folder) else {
            return 0;
        };
        let mut freed = 0;
        for entry in entries {
            if !entry.name.to_string_lossy().ends_with(PART) {
                continue;
            }
            let path = self.folder.join(&entry.name);
            // What is held is being fetched; what can't be removed goes another time.
            if let Ok(_lock) = LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO) {
                let bytes = fs::allocated_bytes(&path).unwrap_or(0);
                if matches!(fs::remove_file(&path), Ok(true)) {
                    freed += bytes;
                }
            }
        }
        freed
    }

    /// Keeps a document whose digest was compared.
    pub(crate) fn keep(&self, digest: Digest, bytes: &[u8]) -> Result<(), RootfsError> {
        let path = self.path(digest);
        if !fs::is_file(&path) {
            atomic_file::write(&path, bytes, Existing::Replace)?;
        }
        Ok(())
    }

    /// Removes one; a missing one is as good.
    pub(crate) fn remove(&self, digest: Digest) -> Result<bool, RootfsError> {
        Ok(fs::remove_file(&self.path(digest))?)
    }

    /// Removes those of `unwanted` that no image of `named` has.
    pub(crate) fn remove_unnamed(
        &self,
        unwanted: impl IntoIterator<Item = Digest>,
        named: &BTreeSet<Digest>,
    ) {
        for digest in unwanted {
            if !named.contains(&digest) {
                // What stays goes with the next prune.
                let _ = self.remove(digest);
            }
        }
    }

    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{BLOB}{}", digest.hash()))
    }
}

impl BlobPlace for BlobFolder {
    fn claim(&self, digest: Digest, size: u64) -> Result<Claim, PlaceError> {
        let whole = self.path(digest);
        if let Some(file) = stored(&whole, size)? {
            return Ok(Claim::Stored(file));
        }
        let part = self.folder.join(format!("{BLOB}{}{PART}", digest.hash()));
        let lock = match LockFile::acquire(&part, LockMode::Exclusive, Duration::ZERO) {
            Ok(lock) => lock,
            Err(LockError::Held { .. }) => return Ok(Claim::Busy),
            Err(LockError::Fs(error)) => return Err(error.into()),
        };
        // Somebody may have finished between the first look and the lock.
        if let Some(file) = stored(&whole, size)? {
            fs::remove_file(&part)?;
            return Ok(Claim::Stored(file));
        }
        let file = fs::open_read_write(&part)?;
        fs::set_length(&file, &part, 0)?;
        Ok(Claim::Fetch(Box::new(Part {
            file: Arc::new(file),
            path: part,
            whole,
            published: false,
            _lock: lock,
        })))
    }
}

/// A whole blob of the right length; one of another is removed.
fn stored(path: &Path, size: u64) -> Result<Option<File>, FsError> {
    let file = match fs::open(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = fs::metadata(path)?.len();
    if len == size {
        return Ok(Some(file));
    }
    fs::remove_file(path)?;
    Ok(None)
}

struct Part {
    file: Arc<File>,
    path: PathBuf,
    whole: PathBuf,
    published: bool,
    _lock: LockFile,
}

impl Landing for Part {
    fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    fn publish(mut self: Box<Self>) -> Result<(), PlaceError> {
        fs::rename(&self.path, &self.whole)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.published {
            // What stays goes with the next sweep.
            let _ = fs::remove_file(&self.path);
        }
    }
}
