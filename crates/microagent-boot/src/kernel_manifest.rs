//! `pinned.json`: where the kernels of this release are, for an installation that does not bring them.
//!
//! It lies where the kernels would, `<prefix>/libexec/kernels/pinned.json`, is written by `cargo xtask dist` and
//! trusted as the programs beside it are. An installation with kernels has none. Pure but for the reading.

use crate::kernel_catalog::{PinnedList, RECORD_BYTES_MAX};
use crate::kernel_download::KernelUrl;
use crate::search_path::SearchPath;
use microagent_os::{FsError, fs};
use microagent_types::{Arch, BackendName, Sha256Hex};
use std::path::PathBuf;

/// A kernel that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedKernel {
    /// Where it is.
    pub url: KernelUrl,
    /// What it is.
    pub sha256: Sha256Hex,
    /// Its version, when it is known.
    pub version: Option<String>,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It can't be read.
    #[error(transparent)]
    File(#[from] FsError),
    /// It is no such JSON.
    #[error("the list of kernels `{}` cannot be read", path.display())]
    Malformed {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// One of its addresses is none.
    #[error("the list of kernels `{}` has an address that is none", path.display())]
    Url {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: crate::kernel_download::InvalidUrl,
    },
}

/// The kernel that this installation names for a backend; `None` when it names none.
///
/// # Errors
/// When the file is there and damaged.
pub fn pinned(
    search_path: &SearchPath,
    backend: BackendName,
    arch: Arch,
) -> Result<Option<PinnedKernel>, ManifestError> {
    let relative: PathBuf = ["kernels", "pinned.json"].iter().collect();
    let Some(path) = search_path.find_file(&relative) else {
        return Ok(None);
    };
    let bytes = fs::read_bounded(&path, RECORD_BYTES_MAX)?;
    let list: PinnedList =
        serde_json::from_slice(&bytes).map_err(|source| ManifestError::Malformed {
            path: path.clone(),
            source,
        })?;
    let entry = list
        .kernels
        .into_iter()
        .find(|entry| entry.backend == backend.as_str() && entry.arch == arch.as_str());
    let Some(entry) = entry else { return Ok(None) };
    match entry.url.parse() {
        Ok(url) => Ok(Some(PinnedKernel {
            url,
            sha256: entry.sha256,
            version: entry.version,
        })),
        Err(source) => Err(ManifestError::Url { path, source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test makes its files as anybody would"
    )]

    use super::{ManifestError, pinned};
    use crate::search_path::SearchPath;
    use microagent_types::{Arch, BackendName};

    #[test]
    fn a_kernel_is_found_by_backend_and_architecture() {
        let prefix = tempfile::tempdir().unwrap();
        let search = SearchPath::beside(&prefix.path().join("bin/microagent"));
        let of = |backend, arch| pinned(&search, backend, arch);
        assert_eq!(of(BackendName::Qemu, Arch::Amd64).unwrap(), None);
        let folder = prefix.path().join("libexec/kernels");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |url: &str| {
            let sha = "1".repeat(64);
            let text = format!(
                r#"{{"schema":1,"kernels":[{{"backend":"qemu","arch":"amd64","version":"6.12","url":"{url}","sha256":"{sha}"}}]}}"#
            );
            std::fs::write(folder.join("pinned.json"), text).unwrap();
        };
        write("https://example.test/k/Image?token=s3cret");
        let found = of(BackendName::Qemu, Arch::Amd64).unwrap().unwrap();
        assert_eq!(found.url.shown(), "https://example.test/k/Image");
        assert_eq!(found.version.as_deref(), Some("6.12"));
        assert_eq!(of(BackendName::Qemu, Arch::Arm64).unwrap(), None);
        assert_eq!(of(BackendName::Firecracker, Arch::Amd64).unwrap(), None);
        for address in ["ftp://example.test/Image", "Image", "https://"] {
            write(address);
            let error = of(BackendName::Qemu, Arch::Amd64).unwrap_err();
            assert!(matches!(error, ManifestError::Url { .. }), "{address}");
        }
        std::fs::write(folder.join("pinned.json"), "{").unwrap();
        let error = of(BackendName::Qemu, Arch::Amd64).unwrap_err();
        assert!(matches!(error, ManifestError::Malformed { .. }));
    }
}
