//! A folder in the making, and whose turn it is to make it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use microagent_oci::CancelToken;
use microagent_os::{
    FsError, dirs, fs,
    lock::{LockError, LockFile, LockMode},
    random,
};

use crate::{
    cache_key::CacheKey,
    error::RootfsError,
    progress::{Progress, ProgressStep},
};

/// What a folder in the making is called first.
pub(crate) const BUILDING: &str = "building-";
/// What the lock of an image in the making is called first.
pub(crate) const TURN: &str = "turn-";
pub(crate) const LOCK: &str = "lock";
/// Between two looks at whether somebody asked for an end while another process builds.
const TURN_PATIENCE: Duration = Duration::from_millis(200);
/// For a sweep of another process: it removes what lies around, which may be large.
const SWEEP_PATIENCE: Duration = Duration::from_secs(30);

/// A folder in the making; dropping it removes it, unless it was published.
pub(crate) struct Attempt {
    pub(crate) folder: PathBuf,
    lock: Option<LockFile>,
}

/// The right to begin folders, or to sweep those that are nobody's: a folder that has no lock yet must
/// not be taken for one whose builder is gone.
pub(crate) fn folders(
    images: &Path,
    mode: LockMode,
    patience: Duration,
) -> Result<Option<LockFile>, LockError> {
    LockFile::on(fs::open(images)?, images, mode, patience)
}

impl Attempt {
    pub(crate) fn begin(images: &Path) -> Result<Self, RootfsError> {
        let begins = folders(images, LockMode::Shared, SWEEP_PATIENCE)?;
        let Some(_begins) = begins else {
            return Err(RootfsError::Locked(LockError::Held {
                path: images.to_owned(),
                note: None,
            }));
        };
        let folder = images.join(format!("{BUILDING}{}", random::hex_16()));
        dirs::create_private(&folder)?;
        let mut attempt = Self { folder, lock: None };
        let lock = attempt.folder.join(LOCK);
        attempt.lock = Some(LockFile::acquire(
            &lock,
            LockMode::Exclusive,
            Duration::ZERO,
        )?);
        Ok(attempt)
    }

    pub(crate) fn publish(mut self, place: &Path) -> Result<(), FsError> {
        fs::rename(&self.folder, place)?;
        // From here on the folder is an image, whatever happens to its lock file.
        self.folder = PathBuf::new();
        let _ = fs::remove_file(&place.join(LOCK));
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            // What stays goes with the next sweep.
            let _ = fs::remove_tree(&self.folder);
        }
    }
}

/// The right to make one image. Two processes that want the same one take turns, and the second
/// finds it made.
pub(crate) struct Turn {
    lock: LockFile,
}

impl Turn {
    /// Waits for it: as long as the other one lives and makes it.
    pub(crate) fn wait(
        images: &Path,
        key: &CacheKey,
        cancel: &CancelToken,
        progress: &mut dyn Progress,
    ) -> Result<Self, RootfsError> {
        let path = images.join(format!("{TURN}{key}"));
        let mut patience = Duration::ZERO;
        loop {
            match LockFile::acquire(&path, LockMode::Exclusive, patience) {
                Ok(lock) => return Ok(Self { lock }),
                Err(LockError::Held { .. }) if cancel.is_cancelled() => {
                    return Err(RootfsError::Cancelled);
                }
                Err(LockError::Held { .. }) => {
                    patience = TURN_PATIENCE;
                    progress.at(ProgressStep::Wait);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever waits on the removed file notices, and makes another.
        let _ = fs::remove_file(self.lock.path());
    }
}
