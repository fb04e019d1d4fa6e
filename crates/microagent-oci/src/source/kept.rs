//! An image whose documents and layers were kept from an earlier fetch, one file a blob.

use std::path::PathBuf;

use microagent_os::fs;
use microagent_types::{Arch, Digest, ImageSource};

use super::{BlobStore, ResolvedImage, pick};
use crate::{
    blob::{Blob, Promised},
    error::OciError,
    manifest::IndexOrManifest,
};

struct Kept<'a> {
    path_of: &'a dyn Fn(Digest) -> PathBuf,
}

impl BlobStore for Kept<'_> {
    fn blob(&self, digest: Digest) -> Result<Blob, OciError> {
        let name = digest.to_string();
        let path = (self.path_of)(digest);
        if !fs::is_file(&path) {
            return Err(OciError::BlobMissing { blob: name });
        }
        Blob::whole(name, &path)
    }
}

/// Opens the image with the manifest `digest` from the files that `path_of` names. A file that is
/// missing is [`OciError::BlobMissing`].
pub fn open_kept(
    digest: Digest,
    source: &ImageSource,
    arch: Arch,
    path_of: &dyn Fn(Digest) -> PathBuf,
) -> Result<ResolvedImage, OciError> {
    let store = Kept { path_of };
    let blob = store.blob(digest)?;
    let bytes = blob.document(Promised {
        digest: Some(digest),
        size: None,
    })?;
    let IndexOrManifest::Manifest(manifest) = IndexOrManifest::parse(blob.name(), &bytes)? else {
        return Err(OciError::BlobMissing {
            blob: digest.to_string(),
        });
    };
    let found = pick::image(&store, digest, &manifest, arch, None)?;
    Ok(ResolvedImage {
        source: source.clone(),
        digest,
        arch,
        created: found.created,
        config: found.config,
        layers: found.layers,
        name: found.name,
    })
}
