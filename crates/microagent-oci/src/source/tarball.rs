//! A root file system in one tar file, packed or not. It says nothing but its files, so the file's
//! own digest identifies it.

use std::{io::Read, path::Path};

use super::{Found, regular_file};
use crate::{
    blob::Blob,
    cancel::CancelToken,
    error::OciError,
    hash::RunningDigest,
    image_config::ImageConfig,
    layer::{Compression, Layer},
    limits::CHUNK_BYTES,
};

/// Opens the tarball at `path`; its architecture is taken on trust.
pub(super) fn open(path: &Path, cancel: &CancelToken) -> Result<Found, OciError> {
    regular_file(path, "a tarball")?;
    let blob = Blob::whole(path.display().to_string(), path)?;
    let mut digest = RunningDigest::default();
    let mut reader = blob.reader();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        if cancel.is_cancelled() {
            return Err(OciError::Cancelled);
        }
        let read = reader.read(&mut buffer).map_err(|source| OciError::Read {
            blob: blob.name().to_owned(),
            source,
        })?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
    }
    let size = digest.bytes();
    let digest = digest.finish();
    let compression = Compression::detect(&blob)?;
    let diff_id = (compression == Compression::None).then_some(digest);
    Ok(Found {
        digest,
        created: None,
        config: ImageConfig::default(),
        layers: vec![Layer {
            blob,
            compression,
            digest: Some(digest),
            size: Some(size),
            diff_id,
        }],
        name: None,
    })
}
