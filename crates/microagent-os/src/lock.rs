//! Lock files: the kernel's lock on an open file, with a deadline and with proof that the file is
//! still the one that its path names.
//!
//! Two troubles are removed here. A lock call that blocks for ever has no deadline, so it is
//! tried, with a named pause between tries. And a lock on a file that was deleted meanwhile
//! excludes nobody who opens the path anew, so after acquiring, the inode behind the descriptor is
//! compared with the inode behind the path, and the act starts over when they differ.
//!
//! The lock lives as long as the value (and every descriptor duplicated from it). What is written
//! in the file is a note for people and error messages, never the lock.

use std::fs::{File, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{FsAction, FsError};
use crate::fs;

#[cfg(unix)]
#[path = "lock/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "lock/windows.rs"]
mod platform;

/// The pause between two tries of a lock that somebody holds.
const RETRY_PAUSE: Duration = Duration::from_millis(2);
/// Deleted and made again under our hands this often, a lock file is given up.
const INODE_RETRIES_MAX: u32 = 100;
/// Bytes of a note that are read.
const NOTE_BYTES_MAX: u64 = 4096;

/// Who may hold it beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody.
    Exclusive,
    /// Everybody who asks for the same.
    Shared,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it and the patience ran out. `note` is what the holder wrote, if anything.
    #[error("`{}` is locked by another process", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it.
        note: Option<String>,
    },
    /// The calls themselves failed; a missing folder is [`FsError::is_not_found`].
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A lock that is held.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Takes a lock, trying until `patience` has run out. Zero tries once. An absent file is made.
    pub fn acquire(path: &Path, mode: LockMode, patience: Duration) -> Result<Self, LockError> {
        let deadline = Deadline::after(patience);
        let mut replaced = 0;
        loop {
            let file = fs::open_or_create(path)?;
            if !Self::lock_until(&file, path, mode, deadline)? {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    note: read_note(path),
                });
            }
            let held = fs::identity_of_file(&file, path)?;
            if fs::identity_of_path(path)? == Some(held) {
                return Ok(Self {
                    file,
                    path: path.to_owned(),
                });
            }
            replaced += 1;
            if replaced >= INODE_RETRIES_MAX {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    note: None,
                });
            }
        }
    }

    /// Takes a lock on a file that exists and is open, once: a disk, for instance. `None` when it
    /// is held by another.
    pub fn try_on(file: File, path: &Path, mode: LockMode) -> Result<Option<Self>, LockError> {
        Ok(try_lock(&file, path, mode)?.then(|| Self {
            file,
            path: path.to_owned(),
        }))
    }

    /// Takes a lock on what exists and is open, a folder for instance, trying until `patience` has run
    /// out. `None` when it is still held by another then.
    pub fn on(
        file: File,
        path: &Path,
        mode: LockMode,
        patience: Duration,
    ) -> Result<Option<Self>, LockError> {
        let taken = Self::lock_until(&file, path, mode, Deadline::after(patience))?;
        Ok(taken.then(|| Self {
            file,
            path: path.to_owned(),
        }))
    }

    /// Takes over a lock whose descriptor was inherited. The caller says what it is.
    pub fn adopt(file: File, path: &Path) -> Self {
        Self {
            file,
            path: path.to_owned(),
        }
    }

    fn lock_until(
        file: &File,
        path: &Path,
        mode: LockMode,
        deadline: Deadline,
    ) -> Result<bool, LockError> {
        loop {
            if try_lock(file, path, mode)? {
                return Ok(true);
            }
            let left = deadline.remaining();
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(RETRY_PAUSE));
        }
    }

    /// Replaces the note for people.
    pub fn write_note(&mut self, note: &str) -> Result<(), FsError> {
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(note.as_bytes())
        };
        write(&mut self.file).map_err(|error| FsError::new(FsAction::Write, &self.path, error))
    }

    /// The open file; a duplicate of its descriptor holds the lock too.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file, to hand the lock to a child. Dropping it lets go.
    pub fn into_file(self) -> File {
        self.file
    }

    /// The path it was taken by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether somebody holds the lock exclusively, asked by trying it shared and letting go at once.
/// An absent file is held by nobody and is not made.
pub fn is_held(path: &Path) -> Result<bool, LockError> {
    let file = match fs::open(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    Ok(!try_lock(&file, path, LockMode::Shared)?)
}

/// The note that the last holder wrote; `None` when there is none that can be read.
pub fn read_note(path: &Path) -> Option<String> {
    let note = fs::read_text_bounded(path, NOTE_BYTES_MAX).ok()?;
    let note = note.trim();
    (!note.is_empty()).then(|| note.to_owned())
}

fn try_lock(file: &File, path: &Path, mode: LockMode) -> Result<bool, LockError> {
    match platform::try_lock(file, mode) {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(FsError::new(FsAction::Lock, path, error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_with_the_note_and_free_after_drop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut held = LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO).unwrap();
        held.write_note("pid 12, halt").unwrap();
        held.write_note("halt").unwrap();
        assert!(is_held(&path).unwrap());
        match LockFile::acquire(&path, LockMode::Exclusive, Duration::from_millis(30)) {
            Err(LockError::Held { note, .. }) => assert_eq!(note.as_deref(), Some("halt")),
            other => panic!("{other:?}"),
        }
        drop(held);
        assert!(!is_held(&path).unwrap());
        LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO).unwrap();
    }

    #[test]
    fn shared_holders_tolerate_each_other_and_no_exclusive_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _one = LockFile::acquire(&path, LockMode::Shared, Duration::ZERO).unwrap();
        let _two = LockFile::acquire(&path, LockMode::Shared, Duration::ZERO).unwrap();
        assert!(LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO).is_err());
        assert!(!is_held(&path).unwrap());
    }

    #[test]
    fn a_waiter_gets_the_lock_when_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || LockFile::acquire(&path, LockMode::Exclusive, Duration::from_secs(20)).is_ok()
        });
        drop(held);
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn a_lock_on_a_file_that_was_deleted_is_not_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let old = LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || LockFile::acquire(&path, LockMode::Exclusive, Duration::from_secs(20)).unwrap()
        });
        std::fs::remove_file(&path).unwrap();
        drop(old);
        let new = waiter.join().unwrap();
        assert!(is_held(&path).unwrap());
        assert_eq!(
            fs::identity_of_file(new.file(), &path).unwrap(),
            fs::identity_of_path(&path).unwrap().unwrap()
        );
    }

    #[test]
    fn an_absent_lock_is_free_and_a_missing_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/lock");
        assert!(!is_held(&path).unwrap());
        match LockFile::acquire(&path, LockMode::Exclusive, Duration::ZERO) {
            Err(LockError::Fs(error)) => assert!(error.is_not_found()),
            other => panic!("{other:?}"),
        }
    }
}
