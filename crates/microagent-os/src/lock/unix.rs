//! The kernel's lock on the open file as a whole, which only lockers look at.

use std::fs::{File, TryLockError};

use super::LockMode;

/// Takes the lock if nobody has it.
pub(super) fn try_lock(file: &File, mode: LockMode) -> Result<(), TryLockError> {
    match mode {
        LockMode::Exclusive => file.try_lock(),
        LockMode::Shared => file.try_lock_shared(),
    }
}
