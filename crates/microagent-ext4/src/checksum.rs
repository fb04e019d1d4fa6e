//! CRC-32C as ext4 uses it: the running value goes in and comes out, nothing is inverted.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Eight tables, so that eight bytes are taken at a time.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    let mut next = 0u32;
    while byte < 256 {
        let mut value = next;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ POLYNOMIAL
            } else {
                value >> 1
            };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
        next += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// Carries `seed` over `bytes`.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut crc = seed;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let value = u64::from_le_bytes(*chunk) ^ u64::from(crc);
        let byte = |at: usize| usize::from(value.to_le_bytes()[at]);
        crc = (0..8).fold(0, |crc, at| crc ^ TABLES[7 - at][byte(at)]);
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    crc
}

/// The seed of everything in one file system.
pub(crate) fn file_system_seed(uuid: &[u8; 16]) -> u32 {
    crc32c(!0, uuid)
}

/// The seed of everything that belongs to one inode. Our generation numbers are all zero.
pub(crate) fn inode_seed(file_system_seed: u32, inode: u32) -> u32 {
    crc32c(
        crc32c(file_system_seed, &inode.to_le_bytes()),
        &0u32.to_le_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_check_value_comes_out() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_split_does_not_matter() {
        let bytes: Vec<u8> = (0u8..=255).collect();
        for at in 0..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(crc32c(crc32c(7, head), tail), crc32c(7, &bytes));
        }
    }
}
