//! Frames between a tap and `passt`: which may pass, and what is missing in them. Pure.
//!
//! A guest's kernel leaves checksums to its device and says so in a header before the frame. `passt`
//! takes frames as they are on a wire, so the checksum is completed here. The header comes from the
//! guest: every number in it may be a lie.

use std::ops::RangeInclusive;

/// Bytes of the header before a frame on the tap's side.
pub const HEADER_BYTES: usize = 10;
/// Bytes of the length before a frame on `passt`'s side.
pub const LENGTH_BYTES: usize = 4;
/// Bytes that a frame may have: an Ethernet header at least.
pub const FRAME_BYTES: RangeInclusive<usize> = 14..=65535;

const NEEDS_CHECKSUM: u8 = 1;
const FLAGS_AT: usize = 0;
const CHECKSUM_START_AT: usize = 6;
const CHECKSUM_OFFSET_AT: usize = 8;

/// A frame that can't pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Its length is none that a wire carries.
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// Its header places the checksum outside of it.
    #[error("a frame whose checksum is outside of it")]
    Checksum,
}

/// Makes a frame ready for the wire.
pub fn complete(header: [u8; HEADER_BYTES], frame: &mut [u8]) -> Result<(), BadFrame> {
    if !FRAME_BYTES.contains(&frame.len()) {
        return Err(BadFrame::Length(frame.len()));
    }
    if header[FLAGS_AT] & NEEDS_CHECKSUM == 0 {
        return Ok(());
    }
    let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let start = number(CHECKSUM_START_AT);
    let place = start + number(CHECKSUM_OFFSET_AT);
    let covered = frame.get(start..).ok_or(BadFrame::Checksum)?;
    // The place already holds the sum over the addresses.
    let checksum = internet_checksum(covered);
    let target = frame.get_mut(place..place + 2);
    let target = target.ok_or(BadFrame::Checksum)?;
    target.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

/// The checksum of RFC 1071. Zero, which means "none" in UDP, is written as its other form.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut pairs = bytes.chunks_exact(2);
    let mut sum: u64 = pairs
        .by_ref()
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    if let [last] = pairs.remainder() {
        sum += u64::from(u16::from_be_bytes([*last, 0]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).expect("it was folded") {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// The length of the frame that follows on `passt`'s side.
pub fn frame_length(length: [u8; LENGTH_BYTES]) -> Result<usize, BadFrame> {
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if FRAME_BYTES.contains(&length) {
        Ok(length)
    } else {
        Err(BadFrame::Length(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(start: u16, offset: u16) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[FLAGS_AT] = NEEDS_CHECKSUM;
        header[CHECKSUM_START_AT..CHECKSUM_OFFSET_AT].copy_from_slice(&start.to_ne_bytes());
        header[CHECKSUM_OFFSET_AT..].copy_from_slice(&offset.to_ne_bytes());
        header
    }

    #[test]
    fn a_left_out_checksum_is_completed_over_the_rest() {
        // The example of RFC 1071, with the place of the checksum in front.
        let mut frame = [
            &[0u8; 14][..],
            &[0, 0, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7],
        ]
        .concat();
        complete(header(14, 0), &mut frame).unwrap();
        assert_eq!(frame[14..16], (!0xddf2u16).to_be_bytes());
        // Summed again with it, nothing is left.
        assert_eq!(internet_checksum(&frame[14..]), 0xffff);
    }

    #[test]
    fn a_frame_with_its_checksum_stays_as_it_is() {
        let mut frame = [7; 60];
        complete([0; HEADER_BYTES], &mut frame).unwrap();
        assert_eq!(frame, [7; 60]);
    }

    #[test]
    fn a_place_outside_of_the_frame_is_refused() {
        for (start, offset) in [(60, 0), (61, 0), (14, 45), (65535, 65535)] {
            let result = complete(header(start, offset), &mut [0; 60]);
            assert_eq!(result, Err(BadFrame::Checksum), "{start} {offset}");
        }
        complete(header(14, 44), &mut [0; 60]).unwrap();
    }

    #[test]
    fn lengths_that_no_wire_carries_are_refused() {
        let length = |bytes: u32| frame_length(bytes.to_be_bytes());
        assert_eq!(length(13), Err(BadFrame::Length(13)));
        assert_eq!(length(14), Ok(14));
        assert_eq!(length(65535), Ok(65535));
        assert_eq!(length(65536), Err(BadFrame::Length(65536)));
        assert!(length(u32::MAX).is_err());
        assert!(complete([0; HEADER_BYTES], &mut [0; 13]).is_err());
        assert!(complete([0; HEADER_BYTES], &mut vec![0; 65536]).is_err());
    }

    proptest! {
        #[test]
        fn no_header_leads_out_of_a_frame(
            header in any::<[u8; HEADER_BYTES]>(),
            mut frame in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let length = frame.len();
            let _ = complete(header, &mut frame);
            prop_assert_eq!(frame.len(), length);
        }
    }
}
