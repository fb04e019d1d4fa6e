//! The 512 bytes in front of every entry.

/// Length of a header and of everything that content is padded to.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A header with a right checksum.
#[derive(Debug, Clone)]
pub(crate) struct Header(Box<[u8; BLOCK_BYTES]>);

impl Header {
    /// `None` when the checksum is wrong.
    pub(crate) fn new(block: Box<[u8; BLOCK_BYTES]>) -> Option<Self> {
        let stated = number(&block[148..156])?;
        let as_spaces = |at: usize| {
            if (148..156).contains(&at) {
                b' '
            } else {
                block[at]
            }
        };
        let unsigned: u64 = (0..BLOCK_BYTES).map(|at| u64::from(as_spaces(at))).sum();
        // Some old programs added signed bytes.
        let signed: i64 = (0..BLOCK_BYTES)
            .map(|at| i64::from(as_spaces(at).cast_signed()))
            .sum();
        (stated == unsigned || i64::try_from(stated) == Ok(signed)).then_some(Self(block))
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(crate) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        // GNU keeps other things where POSIX has the folder.
        let prefix = if &self.0[257..263] == b"ustar\0" {
            text(&self.0[345..500])
        } else {
            b""
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(crate) fn mode(&self) -> Option<u16> {
        u16::try_from(number(&self.0[100..108])? & 0o7777).ok()
    }

    pub(crate) fn uid(&self) -> Option<u32> {
        u32::try_from(number(&self.0[108..116])?).ok()
    }

    pub(crate) fn gid(&self) -> Option<u32> {
        u32::try_from(number(&self.0[116..124])?).ok()
    }

    pub(crate) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    pub(crate) fn seconds(&self) -> Option<i64> {
        signed(&self.0[136..148])
    }

    pub(crate) fn major(&self) -> Option<u32> {
        u32::try_from(number(&self.0[329..337])?).ok()
    }

    pub(crate) fn minor(&self) -> Option<u32> {
        u32::try_from(number(&self.0[337..345])?).ok()
    }

    /// Bytes of the fields of an old GNU sparse header: its four pieces.
    pub(crate) fn old_sparse_pieces(&self) -> &[u8] {
        &self.0[386..386 + 4 * 24]
    }

    pub(crate) fn old_sparse_goes_on(&self) -> bool {
        self.0[482] != 0
    }

    pub(crate) fn old_sparse_size(&self) -> Option<u64> {
        number(&self.0[483..495])
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// A number that is not negative, in octal digits or in the GNU form.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    u64::try_from(signed(field)?).ok()
}

/// A number in octal digits, or, when its first bit says so, in big-endian two's complement.
fn signed(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        // The marking bit is not part of the number; the one below it is the sign.
        let first = if field[0] & 0x40 != 0 {
            field[0]
        } else {
            field[0] & 0x7f
        };
        let mut value = i64::from(first.cast_signed());
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(i64::from(*byte))?;
        }
        return Some(value);
    }
    let digits = text(field).trim_ascii();
    let mut value = 0i64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value = value.checked_mul(8)?.checked_add(i64::from(digit))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_two_forms() {
        assert_eq!(signed(b"0000644\0"), Some(0o644));
        assert_eq!(signed(b"   644 \0"), Some(0o644));
        assert_eq!(signed(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(signed(b"\x80\0\0\0\0\0\x01\x00"), Some(256));
        assert_eq!(signed(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(signed(b"0000648\0"), None);
        assert_eq!(signed(b"77777777777777777777777\0"), None);
        assert_eq!(
            signed(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), None);
    }
}
