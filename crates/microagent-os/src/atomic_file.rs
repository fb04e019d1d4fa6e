//! A small file that is replaced whole or not at all, also when the power goes.
//!
//! ```text
//! temporary file in the same folder  ->  fsync  ->  rename  ->  fsync of the folder
//! ```
//!
//! Leave one step out and a crash shows an empty record, a half one, or the old one after the
//! caller was told that the new one is safe. A reader sees the old content or the new. Two
//! concurrent writers both succeed and the later rename wins; who needs more than that takes a
//! lock first.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::crash_point;
use crate::error::{FsAction, FsError};
use crate::fs;

/// How every temporary name of this module begins, so that leftovers of a crash can be told.
const TEMPORARY_PREFIX: &str = ".new-";

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Replace it.
    Replace,
    /// Fail with kind `AlreadyExists` and leave it as it is.
    Keep,
}

/// Writes a record durably. When this returns, the content survives a power cut.
///
/// After an error the old content stands, unless only the last sync failed: then the new one
/// stands and may or may not survive.
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), FsError> {
    let folder = folder_of(path);
    let temporary = temporary_beside(path, &folder);
    crash_point::pass("record.begin");
    let written = write_temporary(&temporary, bytes).and_then(|()| match existing {
        Existing::Replace => fs::rename(&temporary, path),
        Existing::Keep => fs::rename_new(&temporary, path),
    });
    if let Err(error) = written {
        // The first error is the one that matters; a leftover is swept later.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    crash_point::pass("record.renamed");
    fs::sync_folder(&folder)?;
    crash_point::pass("record.durable");
    Ok(())
}

/// Removes a file durably. True when there was one.
pub fn remove(path: &Path) -> Result<bool, FsError> {
    let removed = fs::remove_file(path)?;
    crash_point::pass("record.removed");
    if removed {
        fs::sync_folder(&folder_of(path))?;
    }
    Ok(removed)
}

/// Removes what crashed writers left in a folder. Only for who knows that nobody writes there now.
/// Returns what was removed.
pub fn sweep(folder: &Path) -> Result<Vec<PathBuf>, FsError> {
    let mut swept = Vec::new();
    for entry in fs::list(folder)? {
        let ours = entry
            .name
            .to_str()
            .is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
        if ours && entry.kind == fs::FileKind::File {
            let path = folder.join(&entry.name);
            fs::remove_file(&path)?;
            swept.push(path);
        }
    }
    Ok(swept)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn temporary_beside(path: &Path, folder: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Names are at most 255 bytes; ours are short, but a caller's need not be.
    let name: String = name.chars().take(40).collect();
    folder.join(format!(
        "{TEMPORARY_PREFIX}{name}-{}",
        crate::random::hex_16()
    ))
}

fn write_temporary(temporary: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let mut file = fs::create_new(temporary)?;
    crash_point::pass("record.created");
    crash_point::room("record")
        .and_then(|()| file.write_all(bytes))
        .map_err(|error| FsError::new(FsAction::Write, temporary, error))?;
    crash_point::pass("record.written");
    fs::sync_file(&file, temporary)?;
    crash_point::pass("record.synced");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_replaced_and_no_temporary_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        write(&path, b"one", Existing::Replace).unwrap();
        write(&path, b"two", Existing::Replace).unwrap();
        assert_eq!(fs::read_bounded(&path, 10).unwrap(), b"two");
        assert_eq!(fs::list(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn an_existing_record_can_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        write(&path, b"one", Existing::Keep).unwrap();
        let error = write(&path, b"two", Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_bounded(&path, 10).unwrap(), b"one");
        assert_eq!(fs::list(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn leftovers_are_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".new-r.json-0123456789abcdef"), b"half").unwrap();
        std::fs::write(folder.path().join("new-r.json"), b"kept").unwrap();
        assert_eq!(sweep(folder.path()).unwrap().len(), 1);
        assert_eq!(fs::list(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn removal_is_idempotent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        write(&path, b"one", Existing::Replace).unwrap();
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }
}
