//! A second copy of a disk: by reflink where the file system can, else a sparse copy in the kernel.
//!
//! A root disk is gigabytes of which most is holes and which nobody has written yet. A reflink
//! takes milliseconds; where it can't be had, only data is copied and holes stay holes. The caller
//! is told which it was, since a copy that calls itself a clone is a lie about time and space.

use std::fs::File;
use std::path::Path;

use crate::crash_point;
use crate::error::{FsAction, FsError};
use crate::fs;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod kernel;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod kernel;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// How a clone was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneMethod {
    /// Blocks are shared until one side writes.
    Reflink,
    /// Data was copied, holes were kept.
    Copy,
}

/// Whether sharing blocks may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Reflink first.
    Preferred,
    /// Always copy; for measuring and tests.
    Never,
    /// Reflink, or an error of kind `Unsupported`.
    Required,
}

/// Clones `from` to the new name `to`, born 0600. Not durable until synced.
///
/// `to` must not exist. After an error it does not exist either. `from` must not be written
/// meanwhile.
pub fn clone_file(from: &Path, to: &Path, sharing: Sharing) -> Result<CloneMethod, FsError> {
    let source = fs::open(from)?;
    let target = fs::create_new(to)?;
    match clone_open(&source, &target, sharing) {
        Ok(method) => Ok(method),
        Err(error) => {
            drop(target);
            // The first error is the one that matters.
            let _ = fs::remove_file(to);
            Err(FsError::new(FsAction::Clone, to, error))
        }
    }
}

/// Whether files in this folder can share blocks, tried with two files that never have a name; `None`
/// where no such file can be made.
pub fn can_share(folder: &Path) -> Option<bool> {
    const BLOCK: [u8; 4096] = [1; 4096];
    let (source, target) = (
        fs::create_unnamed(folder).ok()?,
        fs::create_unnamed(folder).ok()?,
    );
    fs::write_all_at(&source, &BLOCK, 0).ok()?;
    Some(reflink_copy::reflink_file(&source, &target).is_ok())
}

fn clone_open(source: &File, target: &File, sharing: Sharing) -> std::io::Result<CloneMethod> {
    // Every refusal (another file system, one without reflinks) ends in the copy, whose own
    // errors tell the truth about a disk that is full or broken.
    if sharing != Sharing::Never && reflink_copy::reflink_file(source, target).is_ok() {
        return Ok(CloneMethod::Reflink);
    }
    if sharing == Sharing::Required {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
    crash_point::room("clone")?;
    platform::copy_sparse(source, target)?;
    Ok(CloneMethod::Copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_sparse_file_stays_sparse_and_equal() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let file = fs::create_new(&from).unwrap();
        file.write_all_at(&[7; 5000], 1 << 20).unwrap();
        file.write_all_at(b"end", (1 << 28) - 3).unwrap();
        file.set_len(1 << 29).unwrap();
        assert_eq!(
            clone_file(&from, &to, Sharing::Never).unwrap(),
            CloneMethod::Copy
        );
        assert_eq!(fs::metadata(&to).unwrap().len(), 1 << 29);
        assert!(fs::allocated_bytes(&to).unwrap() < 1 << 20);
        let compared = std::process::Command::new("cmp")
            .arg(&from)
            .arg(&to)
            .status()
            .unwrap();
        assert!(compared.success());
    }

    #[test]
    fn a_taken_name_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&from, b"from").unwrap();
        std::fs::write(&to, b"to").unwrap();
        assert!(clone_file(&from, &to, Sharing::Preferred).is_err());
        assert_eq!(std::fs::read(&to).unwrap(), b"to");
    }

    #[test]
    fn where_blocks_cannot_be_shared_a_required_reflink_leaves_nothing() {
        // The kernel's own files share no blocks with anything.
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("b");
        let from = Path::new("/proc/version");
        let error = clone_file(from, &to, Sharing::Required).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        assert!(!fs::is_present(&to));
    }

    #[test]
    fn a_source_that_cannot_be_copied_leaves_no_target() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("b");
        assert!(clone_file(folder.path(), &to, Sharing::Preferred).is_err());
        assert!(!fs::is_present(&to));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_pattern_of_data_and_holes_is_copied(
            pieces in prop::collection::vec((0u64..40, 1usize..9000, any::<u8>()), 0..8),
            tail in 0u64..200_000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (from, to) = (folder.path().join("a"), folder.path().join("b"));
            let file = fs::create_new(&from).unwrap();
            for (block, length, byte) in pieces {
                file.write_all_at(&vec![byte; length], block * 4096 + u64::from(byte)).unwrap();
            }
            let length = file.metadata().unwrap().len() + tail;
            file.set_len(length).unwrap();
            clone_file(&from, &to, Sharing::Never).unwrap();
            prop_assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        }
    }
}
