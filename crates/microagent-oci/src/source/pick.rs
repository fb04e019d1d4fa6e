//! From the list of a layout to one image: by name, then by platform, then its documents.

use microagent_types::{Arch, Digest};

use super::{BlobStore, Found};
use crate::{
    blob::Promised,
    error::{DocumentProblem, OciError},
    image_config::ConfigDocument,
    layer::{Compression, Layer},
    limits::INDEX_DEPTH_MAX,
    manifest::{Descriptor, Index, IndexOrManifest, Manifest},
    platform,
};

/// Finds the image called `tag` (or the only one) for `arch` below `index`.
pub(crate) fn pick(
    store: &dyn BlobStore,
    index: &Index,
    tag: Option<&str>,
    arch: Arch,
) -> Result<Found, OciError> {
    let named: Vec<&Descriptor> = match tag {
        Some(tag) => {
            let fits = |descriptor: &&Descriptor| {
                let name = descriptor.reference_name();
                name == Some(tag)
                    || name.and_then(|name| name.rsplit_once(':')).map(|n| n.1) == Some(tag)
            };
            let named: Vec<_> = index.manifests.iter().filter(fits).collect();
            if named.is_empty() {
                let (tag, available) = (tag.to_owned(), names(index));
                return Err(OciError::TagMissing { tag, available });
            }
            named
        }
        None => {
            let available = names(index);
            if available.len() > 1 {
                return Err(OciError::TagNeeded { available });
            }
            index
                .manifests
                .iter()
                .filter(|descriptor| !descriptor.is_attestation())
                .collect()
        }
    };
    let Some(first) = named.first() else {
        return Err(OciError::Empty);
    };
    let name = first.reference_name().map(str::to_owned);
    let descriptor =
        platform::choose(&named, arch).ok_or_else(|| no_platform(arch, named.iter().copied()))?;
    let (digest, manifest) = descend(store, descriptor, arch)?;
    image(store, digest, &manifest, arch, name)
}

/// The names that an index lists, each once.
fn names(index: &Index) -> Vec<String> {
    let mut names: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|descriptor| Some(descriptor.reference_name()?.escape_debug().to_string()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The image of an index for a processor.
pub(crate) fn variant(index: &Index, arch: Arch) -> Result<Descriptor, OciError> {
    let all: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|descriptor| !descriptor.is_attestation())
        .collect();
    platform::choose(&all, arch)
        .cloned()
        .ok_or_else(|| no_platform(arch, all.iter().copied()))
}

/// The manifest that a descriptor leads to, through indexes within indexes.
pub(crate) fn descend(
    store: &dyn BlobStore,
    descriptor: &Descriptor,
    arch: Arch,
) -> Result<(Digest, Manifest), OciError> {
    let mut at = descriptor.clone();
    for _ in 0..=INDEX_DEPTH_MAX {
        let blob = store.manifest(&at)?;
        let bytes = blob.document(Promised {
            digest: Some(at.digest),
            size: Some(at.size),
        })?;
        match IndexOrManifest::parse(blob.name(), &bytes)? {
            IndexOrManifest::Manifest(manifest) => return Ok((at.digest, manifest)),
            IndexOrManifest::Index(index) => at = variant(&index, arch)?,
        }
    }
    let problem = DocumentProblem::TooDeep {
        limit: INDEX_DEPTH_MAX,
    };
    Err(OciError::DocumentWrong {
        blob: at.digest.to_string(),
        problem,
    })
}

fn no_platform<'a>(
    wanted: Arch,
    descriptors: impl IntoIterator<Item = &'a Descriptor>,
) -> OciError {
    OciError::NoPlatform {
        wanted,
        available: platform::names(descriptors),
    }
}

/// Reads the configuration and puts the layers together.
pub(crate) fn image(
    store: &dyn BlobStore,
    digest: Digest,
    manifest: &Manifest,
    arch: Arch,
    name: Option<String>,
) -> Result<Found, OciError> {
    let blob = store.blob(manifest.config.digest)?;
    let bytes = blob.document(Promised {
        digest: Some(manifest.config.digest),
        size: Some(manifest.config.size),
    })?;
    let config = ConfigDocument::parse(blob.name(), &bytes)?;
    check_platform(&config, arch)?;
    check_layers(blob.name(), config.diff_ids.len(), manifest.layers.len())?;
    let layers = manifest
        .layers
        .iter()
        .zip(&config.diff_ids)
        .map(|(descriptor, diff_id)| {
            Ok(Layer {
                compression: compression(descriptor)?,
                blob: store.layer(descriptor)?,
                digest: Some(descriptor.digest),
                size: Some(descriptor.size),
                diff_id: Some(*diff_id),
            })
        })
        .collect::<Result<_, OciError>>()?;
    Ok(Found {
        digest,
        created: config.created,
        config: config.config,
        layers,
        name,
    })
}

pub(super) fn check_platform(config: &ConfigDocument, arch: Arch) -> Result<(), OciError> {
    if config.os == platform::OS && config.architecture == arch.as_str() {
        return Ok(());
    }
    let found = format!(
        "{}/{}",
        config.os.escape_debug(),
        config.architecture.escape_debug()
    );
    Err(OciError::NoPlatform {
        wanted: arch,
        available: vec![found],
    })
}

pub(super) fn check_layers(blob: &str, config: usize, manifest: usize) -> Result<(), OciError> {
    if config == manifest {
        return Ok(());
    }
    let problem = DocumentProblem::LayerCount { config, manifest };
    Err(OciError::DocumentWrong {
        blob: blob.to_owned(),
        problem,
    })
}

/// How a layer is packed, by its media type.
fn compression(descriptor: &Descriptor) -> Result<Compression, OciError> {
    let unknown = || OciError::MediaType {
        blob: descriptor.digest.to_string(),
        media_type: descriptor.media_type.escape_debug().to_string(),
    };
    match descriptor.media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Ok(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Compression::Zstd),
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Compression::None),
        _ => Err(unknown()),
    }
}
