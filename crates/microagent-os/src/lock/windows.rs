//! A lock on one byte that no file reaches. Here a locked range can't be read or written by others: a lock on
//! the whole file would keep a VM from its disk, and a reader from the holder's note.

use std::fs::{File, TryLockError};

use super::LockMode;
use crate::windows::files;

/// Takes the lock if nobody has it.
pub(super) fn try_lock(file: &File, mode: LockMode) -> Result<(), TryLockError> {
    match files::lock_beyond_the_end(file, mode == LockMode::Exclusive) {
        Ok(true) => Ok(()),
        Ok(false) => Err(TryLockError::WouldBlock),
        Err(error) => Err(TryLockError::Error(error)),
    }
}
