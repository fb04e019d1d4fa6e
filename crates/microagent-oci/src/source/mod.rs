//! Opens a source and finds the one image in it that was asked for.
//!
//! A folder and an archive differ only in where a blob lies, so both give a `BlobStore` and the
//! way from index to layers is walked once, here. A registry gives such a store too
//! (`registry::session`), with layers that are fetched while they are read.

mod archive;
mod docker_save;
mod kept;
mod layout;
pub(crate) mod pick;
mod tarball;

pub use kept::open_kept;

use std::path::{Path, PathBuf};

use microagent_os::fs;
use microagent_types::{Arch, Digest, ImageSource};

use crate::{
    blob::Blob, cancel::CancelToken, error::OciError, image_config::ImageConfig, layer::Layer,
    manifest::Descriptor,
};

/// An image that was found: what it is and how to read it.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The source as it was given.
    pub source: ImageSource,
    /// Identifies the content: the manifest's digest, for `docker save` archives the
    /// configuration's, for a tarball that of the file.
    pub digest: Digest,
    /// For which processor.
    pub arch: Arch,
    /// When it was made, as the image says it.
    pub created: Option<String>,
    /// What it wants to run.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The name that the source itself has for it.
    pub name: Option<String>,
}

/// Opens a folder, an archive or a tarball and picks the image for `arch`.
///
/// Documents are read and checked; layers are not read, except that a tarball is digested.
/// A registry or a stored image is [`OciError::NotLocal`].
pub fn open(
    source: &ImageSource,
    arch: Arch,
    cancel: &CancelToken,
) -> Result<ResolvedImage, OciError> {
    let image = match source {
        ImageSource::OciLayout { path, tag } => {
            let (path, tag) = locate(path, tag.as_deref());
            layout::open(&path, tag.as_deref(), arch)?
        }
        ImageSource::OciArchive { path, tag } => {
            let (path, tag) = locate(path, tag.as_deref());
            archive::open(&path, tag.as_deref(), arch)?
        }
        ImageSource::DockerArchive { path, tag } => {
            let (path, tag) = locate(path, tag.as_deref());
            docker_save::open(&path, tag.as_deref(), arch)?
        }
        ImageSource::RootfsTar { path } => tarball::open(&locate(path, None).0, cancel)?,
        ImageSource::Registry(_) | ImageSource::Stored { .. } => {
            return Err(OciError::NotLocal {
                reference: source.to_string(),
            });
        }
    };
    Ok(ResolvedImage {
        source: source.clone(),
        digest: image.digest,
        arch,
        created: image.created,
        config: image.config,
        layers: image.layers,
        name: image.name,
    })
}

/// What a kind of source finds.
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) created: Option<String>,
    pub(crate) config: ImageConfig,
    pub(crate) layers: Vec<Layer>,
    pub(crate) name: Option<String>,
}

/// Blobs by digest.
pub(crate) trait BlobStore {
    /// The blob, which need not be what its digest says.
    fn blob(&self, digest: Digest) -> Result<Blob, OciError>;

    /// The same for an index or a manifest.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Blob, OciError> {
        self.blob(descriptor.digest)
    }

    /// The same for a layer, whose bytes need not be there yet.
    fn layer(&self, descriptor: &Descriptor) -> Result<Blob, OciError> {
        self.blob(descriptor.digest)
    }
}

/// Path and tag of a source, where the tag may hold slashes (`image.tar:team/tool:1`): the
/// shortest path that is there wins when the whole one is not.
fn locate(path: &str, tag: Option<&str>) -> (PathBuf, Option<String>) {
    let whole = PathBuf::from(path);
    // What a user names may be a link; what lies in a source may not.
    if let Ok(found) = fs::canonical(&whole) {
        return (found, tag.map(str::to_owned));
    }
    for (at, _) in path.match_indices(':').filter(|(at, _)| *at > 0) {
        if let Ok(head) = fs::canonical(Path::new(&path[..at])) {
            let rest = &path[at + 1..];
            let tag = tag.map_or_else(|| rest.to_owned(), |tag| format!("{rest}:{tag}"));
            return (head, Some(tag));
        }
    }
    (whole, tag.map(str::to_owned))
}

/// Opens a file that must be there.
fn regular_file(path: &Path, expected: &'static str) -> Result<(), OciError> {
    if !fs::is_present(path) {
        return Err(OciError::SourceMissing {
            path: path.to_owned(),
        });
    }
    if !fs::is_file(path) {
        return Err(OciError::SourceKind {
            path: path.to_owned(),
            expected,
        });
    }
    Ok(())
}
