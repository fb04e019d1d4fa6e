//! What callers use: an image found in a registry, then its layers fetched while they are read.

use std::{cell::RefCell, sync::Arc};

use microagent_types::{Arch, Digest, ImageRef, ImageSource};

use super::{
    client::{Client, Http},
    download::{Downloads, Wanted},
    error::RegistryError,
    options::RegistryOptions,
    place::BlobPlace,
    runtime::Runtime,
};
use crate::{
    arrival::Arrival,
    blob::Blob,
    cancel::CancelToken,
    error::OciError,
    hash::digest_of,
    limits::{DOCUMENT_BYTES_MAX, IMAGE_STORED_BYTES_MAX},
    manifest::{Descriptor, IndexOrManifest},
    source::{BlobStore, Found, ResolvedImage, pick},
};

/// Every form of a manifest or an index that we read.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// What a configuration is asked for as.
const BLOB_TYPES: &str = "application/octet-stream, */*";
/// The digest that a registry itself gives for a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Speaks to registries. One serves any number of images, one after the other or at once.
#[derive(Debug)]
pub struct Session {
    runtime: Runtime,
    http: Arc<Http>,
    options: RegistryOptions,
}

impl Session {
    /// Gets ready; nobody is asked yet.
    pub fn new(options: RegistryOptions) -> Result<Self, OciError> {
        Ok(Self {
            runtime: Runtime::start()?,
            http: Arc::new(Http::new(options.waits)),
            options,
        })
    }

    /// Finds the image of a reference for a processor: manifests and configuration are fetched and
    /// checked, layers are not fetched.
    pub fn resolve(
        &self,
        reference: &ImageRef,
        arch: Arch,
        cancel: &CancelToken,
    ) -> Result<RemoteImage, OciError> {
        let client = Arc::new(Client::new(
            Arc::clone(&self.http),
            self.options.clone(),
            reference.clone(),
        ));
        let store = Remote {
            session: self,
            client: Arc::clone(&client),
            cancel,
            layers: RefCell::default(),
            documents: RefCell::default(),
        };
        let (named, bytes) = store.named(reference)?;
        store.documents.borrow_mut().push((named, bytes.clone()));
        let name = named.to_string();
        let found = match IndexOrManifest::parse(&name, &bytes)? {
            IndexOrManifest::Manifest(manifest) => {
                pick::image(&store, named, &manifest, arch, None)?
            }
            IndexOrManifest::Index(index) => {
                let descriptor = pick::variant(&index, arch)?;
                let (digest, manifest) = pick::descend(&store, &descriptor, arch)?;
                pick::image(&store, digest, &manifest, arch, None)?
            }
        };
        let wanted = store.layers.into_inner();
        let mut documents = store.documents.into_inner();
        // The index says nothing about the one image of it that is meant.
        documents.retain(|(digest, _)| *digest == found.digest || *digest != named);
        let bytes = wanted
            .iter()
            .fold(0u64, |sum, wanted| sum.saturating_add(wanted.size));
        if bytes > IMAGE_STORED_BYTES_MAX {
            let limit_bytes = IMAGE_STORED_BYTES_MAX;
            return Err(RegistryError::TooLarge { bytes, limit_bytes }.into());
        }
        Ok(RemoteImage {
            image: resolved(reference, arch, found),
            named,
            client,
            wanted,
            documents,
        })
    }

    /// Begins to fetch the layers of an image. They are read from the image's own [`Layer`]s,
    /// as soon as their first bytes are there.
    ///
    /// [`Layer`]: crate::Layer
    pub fn fetch(
        &self,
        image: &RemoteImage,
        place: Arc<dyn BlobPlace>,
        cancel: &CancelToken,
    ) -> Downloads {
        Downloads::start(
            &self.runtime,
            Arc::clone(&image.client),
            image.wanted.clone(),
            self.options.downloads_max,
            place,
            cancel.clone(),
        )
    }
}

fn resolved(reference: &ImageRef, arch: Arch, found: Found) -> ResolvedImage {
    ResolvedImage {
        source: ImageSource::Registry(reference.clone()),
        digest: found.digest,
        arch,
        created: found.created,
        config: found.config,
        layers: found.layers,
        name: found.name,
    }
}

/// An image in a registry.
#[derive(Debug)]
pub struct RemoteImage {
    image: ResolvedImage,
    named: Digest,
    client: Arc<Client>,
    wanted: Vec<Wanted>,
    documents: Vec<(Digest, Vec<u8>)>,
}

impl RemoteImage {
    /// What it is; its layers can be read once they are fetched.
    pub fn image(&self) -> &ResolvedImage {
        &self.image
    }

    /// The documents that make it, each with its digest: manifest and configuration.
    pub fn documents(&self) -> &[(Digest, Vec<u8>)] {
        &self.documents
    }

    /// What was asked for.
    pub fn reference(&self) -> &ImageRef {
        self.client.reference()
    }

    /// What the reference itself names: the manifest, or the index that lists it.
    pub fn named(&self) -> Digest {
        self.named
    }
}

/// The documents of a repository, fetched when they are asked for.
struct Remote<'a> {
    session: &'a Session,
    client: Arc<Client>,
    cancel: &'a CancelToken,
    layers: RefCell<Vec<Wanted>>,
    documents: RefCell<Vec<(Digest, Vec<u8>)>>,
}

impl Remote<'_> {
    /// What a reference names, with the digest of its bytes.
    fn named(&self, reference: &ImageRef) -> Result<(Digest, Vec<u8>), OciError> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => "latest".to_owned(),
        };
        let client = Arc::clone(&self.client);
        let path = format!("manifests/{name}");
        let (bytes, headers) = self.session.runtime.run(self.cancel, async move {
            client
                .document(&path, MANIFEST_TYPES, DOCUMENT_BYTES_MAX)
                .await
        })?;
        let found = digest_of(&bytes);
        let told = headers
            .get(CONTENT_DIGEST)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<Digest>().ok());
        match reference.digest().or(told) {
            Some(expected) if expected != found => Err(RegistryError::DigestMismatch {
                blob: reference.to_string(),
                expected,
                found,
            }
            .into()),
            _ => Ok((found, bytes)),
        }
    }

    fn fetched(
        &self,
        folder: &str,
        digest: Digest,
        accept: &'static str,
    ) -> Result<Blob, OciError> {
        let client = Arc::clone(&self.client);
        let path = format!("{folder}/{digest}");
        let (bytes, _) = self.session.runtime.run(self.cancel, async move {
            client.document(&path, accept, DOCUMENT_BYTES_MAX).await
        })?;
        self.documents.borrow_mut().push((digest, bytes.clone()));
        Ok(Blob::memory(digest.to_string(), bytes))
    }
}

impl BlobStore for Remote<'_> {
    fn blob(&self, digest: Digest) -> Result<Blob, OciError> {
        self.fetched("blobs", digest, BLOB_TYPES)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Blob, OciError> {
        self.fetched("manifests", descriptor.digest, MANIFEST_TYPES)
    }

    fn layer(&self, descriptor: &Descriptor) -> Result<Blob, OciError> {
        let mut layers = self.layers.borrow_mut();
        let digest = descriptor.digest;
        let known = layers
            .iter()
            .find(|wanted| wanted.digest == digest && wanted.size == descriptor.size);
        let arrival = match known {
            Some(wanted) => Arc::clone(&wanted.arrival),
            None => {
                let arrival = Arc::new(Arrival::default());
                layers.push(Wanted {
                    digest,
                    size: descriptor.size,
                    arrival: Arc::clone(&arrival),
                });
                arrival
            }
        };
        Ok(Blob::arriving(digest.to_string(), descriptor.size, arrival))
    }
}
