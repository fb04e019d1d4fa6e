//! Why an image can't be had from its source.

use std::{io, path::PathBuf, sync::Arc};

use microagent_os::FsError;
use microagent_types::{Arch, Digest};
use thiserror::Error;

use crate::registry::RegistryError;

/// The source, a document of it or a layer of it is not usable. Every variant names the object.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OciError {
    /// The folder or file of the source is not there.
    #[error("there is no image at `{}`", path.display())]
    SourceMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The source is there and is not what its prefix says.
    #[error("`{}` is not {expected}", path.display())]
    SourceKind {
        /// Which file or folder.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// This kind of source is not opened by this function.
    #[error("`{reference}` is not a folder or an archive")]
    NotLocal {
        /// What was asked for.
        reference: String,
    },
    /// A file of the source can't be read.
    #[error("cannot read the source of the image")]
    File(#[from] FsError),
    /// A blob can't be read.
    #[error("cannot read `{blob}`")]
    Read {
        /// Which.
        blob: String,
        /// Why.
        source: io::Error,
    },
    /// A blob that a document names is not in the source.
    #[error("`{blob}` is not in the image")]
    BlobMissing {
        /// Which.
        blob: String,
    },
    /// A document is larger than any honest one.
    #[error("the document `{blob}` has {bytes} bytes, and the limit is {limit_bytes}")]
    DocumentTooLarge {
        /// Which.
        blob: String,
        /// Its claimed or real size.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A document is not what it should be.
    #[error("the document `{blob}` is damaged")]
    DocumentInvalid {
        /// Which.
        blob: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A document is readable and contradicts itself or a bound.
    #[error("the document `{blob}` is wrong: {problem}")]
    DocumentWrong {
        /// Which.
        blob: String,
        /// In which way.
        problem: DocumentProblem,
    },
    /// The bytes of a blob are not those that were promised.
    #[error("`{blob}` is damaged: its SHA-256 is {found}, expected was {expected}")]
    DigestMismatch {
        /// Which.
        blob: String,
        /// What was promised.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// The decompressed bytes of a layer are not those that the configuration promises.
    #[error(
        "the layer `{blob}` is damaged: its content has the SHA-256 {found}, expected was {expected}"
    )]
    ContentMismatch {
        /// Which.
        blob: String,
        /// What was promised.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// The length of a blob is not the promised one.
    #[error("`{blob}` is damaged: it has {found} bytes, expected were {expected}")]
    SizeMismatch {
        /// Which.
        blob: String,
        /// What was promised.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A blob has a form that we do not read.
    #[error("`{blob}` has the media type `{media_type}`, which is not supported")]
    MediaType {
        /// Which.
        blob: String,
        /// Its type, escaped.
        media_type: String,
    },
    /// A layer can't be decompressed.
    #[error("the layer `{blob}` cannot be decompressed")]
    Decompress {
        /// Which.
        blob: String,
        /// Why.
        source: io::Error,
    },
    /// A layer has more bytes than allowed.
    #[error("the layer `{blob}` has more than {limit_bytes} bytes")]
    LayerTooLarge {
        /// Which.
        blob: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The source holds no image of that name.
    #[error("there is no image `{tag}` in the source")]
    TagMissing {
        /// What was asked for.
        tag: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The source holds several images and none was named.
    #[error("the source holds {} images", available.len())]
    TagNeeded {
        /// What there is.
        available: Vec<String>,
    },
    /// The source holds no image at all.
    #[error("the source holds no image")]
    Empty,
    /// The image is not made for the guest.
    #[error("the image is not there for linux/{wanted}")]
    NoPlatform {
        /// What was asked for.
        wanted: Arch,
        /// What there is.
        available: Vec<String>,
    },
    /// An archive is not readable as one.
    #[error("the archive `{}` cannot be read", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<microagent_tar::TarError>,
    },
    /// A registry does not give the image, or not so that it can be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A blob did not arrive whole.
    #[error("cannot fetch `{blob}`")]
    Download {
        /// Which.
        blob: String,
        /// Why.
        source: Arc<RegistryError>,
    },
    /// The layers hold more than an image may.
    #[error("the layers hold more than {limit_bytes} bytes")]
    ImageTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Somebody asked for an end.
    #[error("reading the image was interrupted")]
    Cancelled,
    /// A thread that reads a layer could not be started.
    #[error("cannot start a thread that reads a layer")]
    Thread(#[source] io::Error),
}

/// In which way a readable document is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DocumentProblem {
    /// More of something than any honest document has.
    #[error("it lists {count} {what}, and the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Manifest and configuration count differently.
    #[error("it promises {config} layers, and the manifest has {manifest}")]
    LayerCount {
        /// Of the configuration.
        config: usize,
        /// Of the manifest.
        manifest: usize,
    },
    /// An index within an index within an index.
    #[error("indexes lie in one another more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// It has neither manifests nor a configuration.
    #[error("it is neither an index nor a manifest of an image")]
    Shape,
}

impl OciError {
    /// True when bytes are not what a digest promises, or are damaged in another way.
    pub fn is_integrity(&self) -> bool {
        if let Some(error) = self.registry() {
            return error.is_integrity();
        }
        matches!(
            self,
            Self::DocumentTooLarge { .. }
                | Self::DocumentInvalid { .. }
                | Self::DocumentWrong { .. }
                | Self::DigestMismatch { .. }
                | Self::ContentMismatch { .. }
                | Self::SizeMismatch { .. }
                | Self::Decompress { .. }
                | Self::LayerTooLarge { .. }
                | Self::ImageTooLarge { .. }
                | Self::BlobMissing { .. }
                | Self::Archive { .. }
        )
    }

    /// What a registry did, when it was one that failed.
    pub fn registry(&self) -> Option<&RegistryError> {
        match self {
            Self::Registry(error) => Some(error),
            Self::Download { source, .. } => Some(source),
            _ => None,
        }
    }

    /// True when what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Registry(RegistryError::NotFound { .. }) => true,
            Self::SourceMissing { .. } | Self::TagMissing { .. } | Self::Empty => true,
            Self::File(error) => error.is_not_found(),
            _ => false,
        }
    }
}
