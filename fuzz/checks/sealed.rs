//! A checksum that a random change breaks would keep a fuzzer out of everything behind it, so what
//! looks like a header gets the checksum that it should have.

const BLOCK_BYTES: usize = 512;
/// Where a header has its checksum: six octal digits, NUL, space.
const FIELD: std::ops::Range<usize> = 148..156;

/// `bytes` with the right checksum in each block that has one.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    for block in sealed.as_chunks_mut::<BLOCK_BYTES>().0 {
        let field = &block[FIELD];
        if !field[..6].iter().all(|byte| (b'0'..b'8').contains(byte)) || field[6..] != *b"\0 " {
            continue;
        }
        block[FIELD].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[FIELD].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    sealed
}
