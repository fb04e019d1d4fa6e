//! How a workspace's folder comes to be and goes, so that a crash at any instant leaves either a
//! workspace or a leftover that can be told from one.
//!
//! ```text
//! create:  folder -> lock -> create.json -> (disks, files, records) -> workspace.json = commit
//!          -> create.json removed
//! delete:  `deleting` recorded -> everything else -> workspace.json -> locks -> folder
//! ```
//!
//! A folder without `workspace.json` is no workspace. While its creator lives it is busy; else it
//! is a leftover, swept by whoever next takes its lock.

use std::io;
use std::time::Duration;

use microagent_os::{FsError, atomic_file, clock, crash_point, dirs, fs};
use microagent_types::{RequestId, WorkspaceId};

use crate::create_record::{CreateRecord, Liveness, ProcessRecord};
use crate::paths::WorkspacePaths;
use crate::record_store::{self, RecordError, Stored};
use crate::workspace_lock::{LockError, WorkspaceLock};
use crate::workspace_record::{Deleting, WorkspaceRecord};

/// A folder that vanishes under our hands this often is given up.
const BEGIN_RETRIES_MAX: u32 = 20;

/// What a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderState {
    /// Nothing has the name.
    Absent,
    /// A workspace.
    Workspace,
    /// A create is under way and its creator lives, or it can't be told.
    BeingCreated,
    /// What a broken create or delete left.
    Leftover,
}

/// Why a create was not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// There is a workspace of that name.
    #[error("workspace `{name}` already exists")]
    Exists {
        /// Its name.
        name: microagent_types::WorkspaceName,
    },
    /// Another create of that name is under way.
    #[error("workspace `{name}` is being created by another process")]
    BeingCreated {
        /// Its name.
        name: microagent_types::WorkspaceName,
    },
    /// Its lock was not to be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A record was not to be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// This process does not know itself.
    #[error("cannot read the identity of this process")]
    Identity(#[source] io::Error),
}

/// Looks at a folder without a lock.
pub fn observe(paths: &WorkspacePaths) -> Result<FolderState, RecordError> {
    if fs::is_present(&paths.workspace_record()) {
        return Ok(FolderState::Workspace);
    }
    if !fs::is_present(paths.folder()) {
        return Ok(FolderState::Absent);
    }
    match record_store::read::<CreateRecord>(&paths.create_record()) {
        // The commit may have come between the two looks.
        _ if fs::is_present(&paths.workspace_record()) => Ok(FolderState::Workspace),
        Ok(Some(create)) => Ok(match create.value.creator.liveness() {
            Liveness::Lives | Liveness::Unknown => FolderState::BeingCreated,
            Liveness::Gone => FolderState::Leftover,
        }),
        Ok(None) => Ok(FolderState::Leftover),
        // Written atomically, so nonsense in it is no creator that could still be at work.
        Err(error) if error.is_corrupt() => Ok(FolderState::Leftover),
        Err(error) => Err(error),
    }
}

/// The id under which a create of this folder was begun, if one was.
pub fn begun_id(paths: &WorkspacePaths) -> Result<Option<WorkspaceId>, RecordError> {
    let create = record_store::read::<CreateRecord>(&paths.create_record())?;
    Ok(create.map(|create| create.value.id))
}

/// Begins a create: makes the folder, sweeps what a broken one left, records the intent. From here
/// on the folder keeps others out until [`finish`] or until this process ends.
pub fn begin(
    paths: &WorkspacePaths,
    id: WorkspaceId,
    request_id: &RequestId,
    patience: Duration,
) -> Result<(), BeginError> {
    let name = || paths.name().clone();
    for _ in 0..BEGIN_RETRIES_MAX {
        dirs::ensure_private(paths.folder())?;
        crash_point::pass("create.folder");
        let lock = match WorkspaceLock::acquire(paths, patience, "create", request_id) {
            Ok(lock) => lock,
            // Deleted between the two lines.
            Err(LockError::NoFolder) => continue,
            Err(error) => return Err(error.into()),
        };
        match observe(paths)? {
            FolderState::Workspace => return Err(BeginError::Exists { name: name() }),
            FolderState::BeingCreated => return Err(BeginError::BeingCreated { name: name() }),
            FolderState::Absent | FolderState::Leftover => {}
        }
        let begun = record_intent(paths, id, request_id);
        if begun.is_err() {
            // A disk too full for the intent must not keep an empty folder; the first error matters.
            let _ = abandon(paths);
        }
        drop(lock);
        return begun;
    }
    Err(BeginError::Lock(LockError::NoFolder))
}

fn record_intent(
    paths: &WorkspacePaths,
    id: WorkspaceId,
    request_id: &RequestId,
) -> Result<(), BeginError> {
    remove_content(paths)?;
    let create = CreateRecord {
        id,
        request_id: request_id.clone(),
        at: clock::now(),
        creator: ProcessRecord::current().map_err(BeginError::Identity)?,
    };
    record_store::write(&paths.create_record(), &Stored::new(create))?;
    fs::sync_folder(&folder_above(paths))?;
    crash_point::pass("create.begun");
    Ok(())
}

/// Commits a create: `workspace.json` makes the folder a workspace. Everything that it names must
/// be durable by now. A taken name is an error of kind `AlreadyExists`.
pub fn finish(paths: &WorkspacePaths, record: WorkspaceRecord) -> Result<(), RecordError> {
    crash_point::pass("create.before_commit");
    record_store::write_new(&paths.workspace_record(), &Stored::new(record))?;
    crash_point::pass("create.committed");
    atomic_file::remove(&paths.create_record())?;
    Ok(())
}

/// Ends a create that failed: everything goes. Only for the creator.
pub fn abandon(paths: &WorkspacePaths) -> Result<(), FsError> {
    remove_content(paths)?;
    remove_locks_and_folder(paths)
}

/// Removes a leftover, under the lock. A workspace is left alone. True when there was one.
pub fn sweep(paths: &WorkspacePaths, lock: WorkspaceLock) -> Result<bool, RecordError> {
    match observe(paths)? {
        FolderState::Leftover => {
            remove_content(paths)?;
            remove_locks_and_folder(paths)?;
            drop(lock);
            Ok(true)
        }
        FolderState::Absent | FolderState::Workspace | FolderState::BeingCreated => Ok(false),
    }
}

/// Removes a leftover of a create that was confirmed to be completed: a `create.json` beside a
/// `workspace.json`. Under the lock.
pub fn complete_create(paths: &WorkspacePaths) -> Result<bool, FsError> {
    if fs::is_present(&paths.workspace_record()) {
        return atomic_file::remove(&paths.create_record());
    }
    Ok(false)
}

/// Deletes a workspace, under its lock, and returns the bytes that it occupied. The caller has made
/// sure that no VM lives. Broken off, it is finished by deleting again.
pub fn delete(
    paths: &WorkspacePaths,
    lock: WorkspaceLock,
    request_id: &RequestId,
) -> Result<u64, RecordError> {
    if let Some(mut stored) = read_if_sound(paths)?
        && stored.value.deleting.is_none()
    {
        stored.value.deleting = Some(Deleting {
            at: clock::now(),
            request_id: request_id.clone(),
        });
        record_store::write(&paths.workspace_record(), &stored)?;
    }
    crash_point::pass("delete.recorded");
    let freed = remove_content(paths)?;
    remove_locks_and_folder(paths)?;
    drop(lock);
    Ok(freed)
}

/// The workspace record, or nothing when it can't be read: a workspace that was asked to go goes
/// even then.
fn read_if_sound(paths: &WorkspacePaths) -> Result<Option<Stored<WorkspaceRecord>>, RecordError> {
    match record_store::read(&paths.workspace_record()) {
        Err(error) if error.is_corrupt() => Ok(None),
        other => other,
    }
}

/// Removes everything but the locks, `workspace.json` last. Returns the bytes.
fn remove_content(paths: &WorkspacePaths) -> Result<u64, FsError> {
    let locks = [paths.lock(), paths.lease(), paths.events_lock()];
    let mut freed = 0u64;
    for entry in fs::list(paths.folder())? {
        let path = paths.folder().join(&entry.name);
        if !locks.contains(&path) && path != paths.workspace_record() {
            freed = freed.saturating_add(fs::remove_tree(&path)?);
            crash_point::pass("delete.part");
        }
    }
    fs::sync_folder(paths.folder())?;
    freed = freed.saturating_add(fs::remove_tree(&paths.workspace_record())?);
    fs::sync_folder(paths.folder())?;
    crash_point::pass("delete.record_removed");
    Ok(freed)
}

fn remove_locks_and_folder(paths: &WorkspacePaths) -> Result<(), FsError> {
    for lock in [paths.events_lock(), paths.lease(), paths.lock()] {
        fs::remove_file(&lock)?;
        crash_point::pass("delete.lock_removed");
    }
    match fs::remove_empty_folder(paths.folder()) {
        Ok(_) => {}
        // Somebody began to create the name anew in the very moment that the lock was gone.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
        Err(error) => return Err(error),
    }
    fs::sync_folder(&folder_above(paths))
}

fn folder_above(paths: &WorkspacePaths) -> std::path::PathBuf {
    paths.folder().parent().unwrap_or(paths.folder()).to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
