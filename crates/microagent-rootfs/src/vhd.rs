//! A fixed VHD: the disk as it is, and a footer of 512 bytes behind it.
//!
//! Written after Microsoft's "Virtual Hard Disk Image Format Specification". Readers take the size
//! from the footer's own field only when they know who wrote it; this one names itself as the
//! system does that the disk is for, so that the size stays exact.

/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 512;
const SECTOR_BYTES: u64 = 512;
/// Beyond this the geometry says nothing more.
const GEOMETRY_SECTORS_MAX: u64 = 65_535 * 16 * 255;
/// Where the checksum stands.
const CHECKSUM_AT: usize = 64;
/// Its kind: fixed.
const FIXED: u32 = 2;

/// The footer of a disk of `size_bytes`, which are whole sectors.
///
/// No clock is read: equal disks have equal footers.
pub fn footer(size_bytes: u64, id: [u8; 16]) -> [u8; FOOTER_BYTES] {
    assert!(
        size_bytes.is_multiple_of(SECTOR_BYTES),
        "a disk has whole sectors"
    );
    let (cylinders, heads, sectors) = geometry(size_bytes / SECTOR_BYTES);
    let mut footer = [0; FOOTER_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        footer[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"conectix");
    put(&2u32.to_be_bytes()); // No features; the bit that is always set.
    put(&0x0001_0000u32.to_be_bytes()); // Version 1.0.
    put(&u64::MAX.to_be_bytes()); // No further header.
    put(&0u32.to_be_bytes()); // Made at the start of their time.
    put(b"win ");
    put(&0x000a_0000u32.to_be_bytes());
    put(b"Wi2k");
    put(&size_bytes.to_be_bytes()); // When it was made,
    put(&size_bytes.to_be_bytes()); // and now.
    put(&cylinders.to_be_bytes());
    put(&[heads, sectors]);
    put(&FIXED.to_be_bytes());
    put(&0u32.to_be_bytes());
    put(&id);
    let sum: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
    footer[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

/// Cylinders, heads and sectors of a track, as the specification computes them.
fn geometry(sectors: u64) -> (u16, u8, u8) {
    let total = sectors.min(GEOMETRY_SECTORS_MAX);
    let (per_track, heads, tracks) = if total >= 65_535 * 16 * 63 {
        (255, 16, total / 255)
    } else {
        let mut per_track = 17;
        let mut tracks = total / 17;
        let mut heads = tracks.div_ceil(1024).max(4);
        if tracks >= heads * 1024 || heads > 16 {
            (per_track, heads) = (31, 16);
            tracks = total / 31;
        }
        if tracks >= heads * 1024 {
            (per_track, heads) = (63, 16);
            tracks = total / 63;
        }
        (per_track, heads, tracks)
    };
    let narrow = |value: u64| u8::try_from(value).expect("a track has at most 255 sectors");
    let cylinders = u16::try_from(tracks / heads).expect("the sectors were cut to fit");
    (cylinders, narrow(heads), narrow(per_track))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometry_is_that_of_the_specification() {
        for (mib, expected) in [
            (1, (30, 4, 17)),
            (64, (963, 8, 17)),
            (1024, (2080, 16, 63)),
            (40 * 1024, (20_560, 16, 255)),
            (4 << 20, (65_535, 16, 255)),
        ] {
            assert_eq!(geometry(mib * 2048), expected, "{mib} MiB");
        }
    }

    #[test]
    fn a_footer_is_its_own_proof_and_tells_the_size() {
        let footer = footer(64 << 20, [7; 16]);
        let stored = u32::from_be_bytes(footer[CHECKSUM_AT..CHECKSUM_AT + 4].try_into().unwrap());
        let mut rest = footer;
        rest[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
        assert_eq!(
            stored,
            !rest.iter().map(|&byte| u32::from(byte)).sum::<u32>()
        );
        assert_eq!(&footer[48..56], &(64u64 << 20).to_be_bytes());
        assert_eq!(&footer[68..84], &[7; 16]);
    }
}
