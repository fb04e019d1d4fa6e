//! The lock that serialises acts on one workspace.
//!
//! Held from observation until the act is handed to a monitor or done. What the holder writes into
//! it is for `busy` errors; the lock itself is the kernel's.

use std::fs::File;
use std::time::Duration;

use microagent_os::lock::{LockError as FileLockError, LockFile, LockMode};
use microagent_os::{FsError, clock};
use microagent_types::RequestId;

use crate::create_record::LockNote;
use crate::paths::WorkspacePaths;

/// How long an act waits for the lock unless told otherwise.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long `stop`, `kill` and `quarantine` wait for it when a monitor answers.
pub const URGENT_LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a reader waits for it to reconcile.
pub const READER_LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another act holds it.
    #[error("another act holds the lock of the workspace")]
    Busy {
        /// Who, as far as its note can be read.
        holder: Option<LockNote>,
    },
    /// The workspace's folder is not there.
    #[error("the workspace has no folder")]
    NoFolder,
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(FsError),
}

/// The lock, held.
#[derive(Debug)]
pub struct WorkspaceLock {
    file: LockFile,
}

impl WorkspaceLock {
    /// Takes it, waiting at most `patience`, and leaves a note.
    pub fn acquire(
        paths: &WorkspacePaths,
        patience: Duration,
        command: &str,
        request_id: &RequestId,
    ) -> Result<Self, LockError> {
        let mut file =
            LockFile::acquire(&paths.lock(), LockMode::Exclusive, patience).map_err(refused)?;
        let note = LockNote {
            pid: std::process::id(),
            command: command.to_owned(),
            request_id: request_id.to_string(),
            since: clock::now(),
        };
        // The note is for people: a disk that is too full for it is not too full for a halt.
        if let Ok(note) = serde_json::to_string(&note) {
            let _ = file.write_note(&note);
        }
        Ok(Self { file })
    }

    /// Takes over a lock whose descriptor was inherited, as a monitor of a maintenance boot does.
    pub fn adopt(file: File, paths: &WorkspacePaths) -> Self {
        Self {
            file: LockFile::adopt(file, &paths.lock()),
        }
    }

    /// A second descriptor of the held lock, to hand it to a monitor. The lock lasts until both
    /// are closed.
    pub fn duplicate(&self) -> Result<File, FsError> {
        self.file.file().try_clone().map_err(|source| FsError {
            action: microagent_os::FsAction::Lock,
            path: self.file.path().to_owned(),
            source,
        })
    }
}

fn refused(error: FileLockError) -> LockError {
    match error {
        FileLockError::Held { note, .. } => LockError::Busy {
            holder: note.and_then(|note| serde_json::from_str(&note).ok()),
        },
        FileLockError::Fs(error) if error.is_not_found() => LockError::NoFolder,
        FileLockError::Fs(error) => LockError::Fs(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace_folder::tests::home;

    #[test]
    fn a_second_act_is_told_who_holds_the_lock() {
        let (_root, paths) = home();
        let request: RequestId = "r-1".parse().unwrap();
        let held = WorkspaceLock::acquire(&paths, LOCK_PATIENCE, "halt", &request).unwrap();
        match WorkspaceLock::acquire(&paths, Duration::ZERO, "kill", &request) {
            Err(LockError::Busy {
                holder: Some(holder),
            }) => {
                assert_eq!(
                    (holder.command.as_str(), holder.request_id.as_str()),
                    ("halt", "r-1")
                );
                assert_eq!(holder.pid, std::process::id());
            }
            other => panic!("{other:?}"),
        }
        let handed = held.duplicate().unwrap();
        drop(held);
        assert!(WorkspaceLock::acquire(&paths, Duration::ZERO, "kill", &request).is_err());
        let adopted = WorkspaceLock::adopt(handed, &paths);
        drop(adopted);
        WorkspaceLock::acquire(&paths, Duration::ZERO, "kill", &request).unwrap();
    }

    #[test]
    fn a_workspace_without_folder_has_no_lock() {
        let (_root, paths) = home();
        std::fs::remove_dir_all(paths.folder()).unwrap();
        let request: RequestId = "r-1".parse().unwrap();
        let refused = WorkspaceLock::acquire(&paths, Duration::ZERO, "halt", &request);
        assert!(matches!(refused, Err(LockError::NoFolder)));
    }
}
