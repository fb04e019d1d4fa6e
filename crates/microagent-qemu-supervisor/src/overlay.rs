//! An empty layer over a disk: a qcow2 image without a single block of its own. Pure.
//!
//! QEMU reads through it what the guest has not written, so a disk that lives for one run costs no copy
//! of its image. Only this beginning is made here; what a guest has caused to be written is QEMU's, and
//! this product never reads it. The image beneath is named on QEMU's command line and not in here, so
//! a layer leads nowhere by itself.
//!
//! ```text
//! cluster 0   header
//! cluster 1   refcount table: one entry
//! cluster 2   refcount block: the clusters of this beginning are in use
//! cluster 3.. first-level table: all zero, which means not here
//! ```

use microagent_types::ByteSize;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
/// A table of the second level is one cluster of eight-byte entries.
const BYTES_PER_L1_ENTRY: u64 = (CLUSTER as u64 / 8) * CLUSTER as u64;
const HEADER_BYTES: u32 = 104;
/// Two to the power of this are the bits of a reference count.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNT_TABLE: usize = CLUSTER;
const REFCOUNT_BLOCK: usize = 2 * CLUSTER;
const L1_TABLE: usize = 3 * CLUSTER;

/// The content of a layer of `size` bytes.
pub(crate) fn empty(size: ByteSize) -> Vec<u8> {
    let l1_entries = size.bytes().div_ceil(BYTES_PER_L1_ENTRY);
    // 16 TiB, the largest disk, need four clusters.
    let l1_bytes = usize::try_from(l1_entries * 8).expect("a table of a bounded disk");
    let clusters = L1_TABLE / CLUSTER + l1_bytes.div_ceil(CLUSTER);
    let mut content = vec![0; clusters * CLUSTER];
    let header = header(size, u32::try_from(l1_entries).expect("a bounded disk"));
    content[..header.len()].copy_from_slice(&header);
    put(
        &mut content,
        REFCOUNT_TABLE,
        &(REFCOUNT_BLOCK as u64).to_be_bytes(),
    );
    for cluster in 0..clusters {
        put(
            &mut content,
            REFCOUNT_BLOCK + cluster * 2,
            &1_u16.to_be_bytes(),
        );
    }
    content
}

fn put(content: &mut [u8], at: usize, bytes: &[u8]) {
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn header(size: ByteSize, l1_entries: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
    bytes.extend(b"QFI\xfb");
    bytes.extend(3_u32.to_be_bytes());
    // No backing file by name.
    bytes.extend([0; 12]);
    bytes.extend(CLUSTER_BITS.to_be_bytes());
    bytes.extend(size.bytes().to_be_bytes());
    // Not encrypted.
    bytes.extend([0; 4]);
    bytes.extend(l1_entries.to_be_bytes());
    bytes.extend((L1_TABLE as u64).to_be_bytes());
    bytes.extend((REFCOUNT_TABLE as u64).to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    // No snapshots, no features.
    bytes.extend([0; 12 + 3 * 8]);
    bytes.extend(REFCOUNT_ORDER.to_be_bytes());
    bytes.extend(HEADER_BYTES.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test asks another program, as anybody would"
    )]

    use super::{HEADER_BYTES, empty, header};
    use microagent_types::ByteSize;
    use std::process::Command;

    #[test]
    fn the_header_is_as_long_as_it_says() {
        let header = header(ByteSize::from_mib(8192), 16);
        assert_eq!(header.len(), HEADER_BYTES as usize);
    }

    #[test]
    fn another_program_finds_nothing_wrong_with_a_layer_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer");
        for mib in [1, 511, 512, 513, 8192, 16 << 20] {
            let size = ByteSize::from_mib(mib);
            std::fs::write(&path, empty(size)).unwrap();
            let run = |arguments: &[&str]| {
                let output = Command::new("qemu-img")
                    .args(arguments)
                    .arg(&path)
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "{mib} MiB: {text}");
                text
            };
            let checked = run(&["check", "-f", "qcow2"]);
            assert!(checked.contains("No errors were found"), "{checked}");
            let said = run(&["info", "-f", "qcow2", "--output", "json"]);
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["virtual-size"], size.bytes());
            assert_eq!(said["backing-filename"], serde_json::Value::Null);
        }
    }
}
