//! Any bytes as an index, a manifest or a configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microagent_oci::manifest::IndexOrManifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(IndexOrManifest::Index(index)) = IndexOrManifest::parse("fuzzed", bytes) {
        for descriptor in &index.manifests {
            let _ = (descriptor.reference_name(), descriptor.is_attestation());
        }
    }
});
