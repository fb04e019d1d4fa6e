//! A hold on an image while its disk is cloned: it is not removed meanwhile.

use std::{path::Path, time::Duration};

use microagent_os::{
    clock,
    lock::{self, LockError, LockFile, LockMode},
};
use microagent_types::Timestamp;

use crate::error::RootfsError;

/// The file that is locked, in the image's folder; its content is when it was last used.
const USE: &str = "use";
/// How long a removal may take that will not come to pass.
const HOLD_PATIENCE: Duration = Duration::from_secs(30);

/// Held by whoever needs the disk. Dropping it lets go.
#[derive(Debug)]
pub struct ImageHold {
    _lock: LockFile,
}

impl ImageHold {
    /// Takes a hold, or nothing when the image is gone.
    pub(crate) fn take(folder: &Path) -> Result<Option<Self>, RootfsError> {
        let mut lock = match LockFile::acquire(&folder.join(USE), LockMode::Shared, HOLD_PATIENCE) {
            Ok(lock) => lock,
            Err(LockError::Fs(error)) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only a table shows it.
        let _ = lock.write_note(&clock::now().to_string());
        Ok(Some(Self { _lock: lock }))
    }

    /// The right to remove an image, or nothing while somebody needs it.
    pub(crate) fn for_removal(folder: &Path) -> Result<Option<LockFile>, RootfsError> {
        match LockFile::acquire(&folder.join(USE), LockMode::Exclusive, Duration::ZERO) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// When the image was used last.
pub(crate) fn last_used(folder: &Path) -> Option<Timestamp> {
    lock::read_note(&folder.join(USE))?.parse().ok()
}
