//! An OCI layout folder: `oci-layout`, `index.json`, `blobs/sha256/…`.

use std::path::{Path, PathBuf};

use microagent_os::fs;
use microagent_types::{Arch, Digest};

use super::{BlobStore, Found, pick::pick};
use crate::{
    blob::{Blob, Promised},
    error::OciError,
    manifest::Index,
};

struct Folder {
    path: PathBuf,
}

impl BlobStore for Folder {
    fn blob(&self, digest: Digest) -> Result<Blob, OciError> {
        let name = digest.to_string();
        let path = self
            .path
            .join("blobs/sha256")
            .join(digest.hash().to_string());
        // Never a pipe or a device that would hang us.
        if !fs::is_file(&path) {
            return Err(OciError::BlobMissing { blob: name });
        }
        Blob::whole(name, &path)
    }
}

/// Opens the folder at `path`.
pub(super) fn open(path: &Path, tag: Option<&str>, arch: Arch) -> Result<Found, OciError> {
    if !fs::is_present(path) {
        return Err(OciError::SourceMissing {
            path: path.to_owned(),
        });
    }
    let index_path = path.join("index.json");
    if !fs::is_file(&index_path) {
        let expected = "an OCI layout folder";
        return Err(OciError::SourceKind {
            path: path.to_owned(),
            expected,
        });
    }
    let index = Blob::whole("index.json".to_owned(), &index_path)?;
    let index = Index::parse(index.name(), &index.document(Promised::default())?)?;
    pick(
        &Folder {
            path: path.to_owned(),
        },
        &index,
        tag,
        arch,
    )
}
