//! The packed guest init. It is made at build time and only found here, so what was tested boots.

use crate::hash::sha256_of;
use crate::search_path::SearchPath;
use microagent_os::FsError;
use microagent_types::{Arch, Sha256Hex};
use std::path::{Path, PathBuf};

/// Largest initramfs, in bytes.
pub const INITRAMFS_BYTES_MAX: u64 = 64 << 20;

/// The guest init as it boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub sha256: Sha256Hex,
}

/// Why there is no guest init.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The installation lacks it.
    #[error("the guest init `{name}` is not installed")]
    Missing {
        /// Its file name.
        name: String,
    },
    /// It is there and can't be read.
    #[error("the guest init cannot be read")]
    Read(#[from] FsError),
    /// It is too large to be one.
    #[error("the guest init `{}` is larger than 64 MiB", path.display())]
    TooLarge {
        /// Where it is.
        path: PathBuf,
    },
}

/// Finds the guest init of an architecture.
///
/// # Errors
/// When the installation has none.
pub fn find(search_path: &SearchPath, arch: Arch) -> Result<Initramfs, InitramfsError> {
    let name = format!("microagent-guestinit-{arch}.cpio");
    let path = search_path
        .find_file(Path::new(&name))
        .ok_or(InitramfsError::Missing { name })?;
    match sha256_of(&path, INITRAMFS_BYTES_MAX)? {
        Some(sha256) => Ok(Initramfs { path, sha256 }),
        None => Err(InitramfsError::TooLarge { path }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test makes its files as anybody would"
    )]

    use super::{InitramfsError, find};
    use crate::search_path::SearchPath;
    use microagent_types::Arch;

    #[test]
    fn it_is_found_in_libexec_and_hashed() {
        let prefix = tempfile::tempdir().unwrap();
        let search = SearchPath::beside(&prefix.path().join("bin/microagent"));
        let missing = find(&search, Arch::Amd64).unwrap_err();
        assert!(matches!(missing, InitramfsError::Missing { .. }));
        std::fs::create_dir(prefix.path().join("libexec")).unwrap();
        std::fs::write(
            prefix
                .path()
                .join("libexec/microagent-guestinit-amd64.cpio"),
            "abc",
        )
        .unwrap();
        // sha256sum of "abc", FIPS 180-2 appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            find(&search, Arch::Amd64).unwrap().sha256.to_string(),
            known
        );
    }
}
