//! What `docker save` writes: `manifest.json` names a configuration and layers by their paths in
//! the archive. Layers have no digests there; the configuration's digests of their content are
//! what proves them.

use std::path::Path;

use microagent_types::{Arch, Digest, ImageRef};
use serde::Deserialize;

use super::{
    Found,
    archive::Contents,
    pick::{check_layers, check_platform},
};
use crate::{
    blob::Promised,
    error::OciError,
    hash::digest_of,
    image_config::ConfigDocument,
    layer::{Compression, Layer},
    limits::{INDEX_ENTRIES_MAX, LAYERS_MAX},
    manifest::{bounded, document},
};

const MANIFEST: &str = "manifest.json";
const EXPECTED: &str = "an archive of `docker save`";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Opens the archive at `path`.
pub(super) fn open(path: &Path, tag: Option<&str>, arch: Arch) -> Result<Found, OciError> {
    let contents = Contents::read(path, EXPECTED)?;
    let Some(manifest) = contents.find(MANIFEST.as_bytes()) else {
        return Err(OciError::SourceKind {
            path: path.to_owned(),
            expected: EXPECTED,
        });
    };
    let bytes = manifest.document(Promised::default())?;
    let images: Vec<Saved> = document(MANIFEST, &bytes)?;
    bounded(MANIFEST, "images", images.len(), INDEX_ENTRIES_MAX)?;
    let (image, name) = pick(&images, tag)?;
    bounded(MANIFEST, "layers", image.layers.len(), LAYERS_MAX)?;

    let find = |name: &str| {
        let missing = || OciError::BlobMissing {
            blob: name.escape_debug().to_string(),
        };
        contents.find(name.as_bytes()).ok_or_else(missing)
    };
    let blob = find(&image.config)?;
    let bytes = blob.document(Promised {
        digest: promised(&image.config),
        size: None,
    })?;
    let config = ConfigDocument::parse(blob.name(), &bytes)?;
    check_platform(&config, arch)?;
    check_layers(blob.name(), config.diff_ids.len(), image.layers.len())?;
    let layers = image
        .layers
        .iter()
        .zip(&config.diff_ids)
        .map(|(name, diff_id)| {
            let blob = find(name)?;
            Ok(Layer {
                compression: Compression::detect(&blob)?,
                blob,
                digest: None,
                size: None,
                diff_id: Some(*diff_id),
            })
        })
        .collect::<Result<_, OciError>>()?;
    Ok(Found {
        digest: digest_of(&bytes),
        created: config.created,
        config: config.config,
        layers,
        name,
    })
}

/// The digest that the name of a configuration promises: `<hex>.json` or `blobs/sha256/<hex>`.
fn promised(name: &str) -> Option<Digest> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let hex = file.strip_suffix(".json").unwrap_or(file);
    format!("sha256:{hex}").parse().ok()
}

fn pick<'a>(
    images: &'a [Saved],
    tag: Option<&str>,
) -> Result<(&'a Saved, Option<String>), OciError> {
    let names = |image: &'a Saved| image.repo_tags.as_deref().unwrap_or_default();
    let available = || {
        images
            .iter()
            .flat_map(names)
            .map(|name| name.escape_debug().to_string())
            .collect()
    };
    if let Some(tag) = tag {
        let found = images.iter().find_map(|image| {
            let name = names(image).iter().find(|name| is_called(name, tag))?;
            Some((image, Some(name.clone())))
        });
        let missing = || OciError::TagMissing {
            tag: tag.to_owned(),
            available: available(),
        };
        return found.ok_or_else(missing);
    }
    match images {
        [] => Err(OciError::Empty),
        [image] => Ok((image, names(image).first().cloned())),
        _ => Err(OciError::TagNeeded {
            available: available(),
        }),
    }
}

/// Whether `name` is what the user calls `tag`: the same text, the same reference written out, or
/// its last part.
fn is_called(name: &str, tag: &str) -> bool {
    let same_reference = match (name.parse::<ImageRef>(), tag.parse::<ImageRef>()) {
        (Ok(name), Ok(tag)) => name == tag,
        _ => false,
    };
    name == tag || same_reference || name.rsplit_once(':').is_some_and(|(_, last)| last == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_short_or_written_out() {
        assert!(is_called("debian:12", "debian:12"));
        assert!(is_called("debian:12", "docker.io/library/debian:12"));
        assert!(is_called("team/tool:1", "1"));
        assert!(!is_called("team/tool:1", "tool:1"));
        assert!(!is_called("team/tool:1", "2"));
    }

    #[test]
    fn the_name_of_a_configuration_may_promise_its_digest() {
        let hex = "0".repeat(64);
        assert!(promised(&format!("{hex}.json")).is_some());
        assert!(promised(&format!("blobs/sha256/{hex}")).is_some());
        assert!(promised("config.json").is_none());
    }
}
