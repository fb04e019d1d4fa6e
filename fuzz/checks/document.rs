//! Any bytes as an index, a manifest or a configuration, and as a registry's challenge.

use microagent_oci::ImageConfig;
use microagent_oci::limits::{INDEX_ENTRIES_MAX, LAYERS_MAX};
use microagent_oci::manifest::IndexOrManifest;
use microagent_oci::registry::challenge;

/// Parses `bytes` as each of them.
pub(crate) fn check(bytes: &[u8]) {
    match IndexOrManifest::parse("fuzzed", bytes) {
        Ok(IndexOrManifest::Index(index)) => {
            assert!(index.manifests.len() <= INDEX_ENTRIES_MAX);
            for descriptor in &index.manifests {
                let _ = (descriptor.reference_name(), descriptor.is_attestation());
            }
        }
        Ok(IndexOrManifest::Manifest(manifest)) => assert!(manifest.layers.len() <= LAYERS_MAX),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = ImageConfig::parse("fuzzed", bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = challenge::parse(text.lines());
    }
}
