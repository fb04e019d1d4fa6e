//! SHA-256, with and without the `sha256:` in front.

use crate::text_form::{InvalidText, text_form};
use std::fmt;

/// The 32 bytes of a SHA-256; in text 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Hex([u8; 32]);

impl Sha256Hex {
    /// Wraps the output of a hash function.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        parse_hex(text).map(Self).ok_or_else(|| {
            InvalidText::new(
                "a SHA-256",
                text,
                "64 lower-case hexadecimal digits are expected",
            )
        })
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let source = text.as_bytes();
    if source.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, &byte) in source.iter().enumerate() {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        bytes[index / 2] |= if index % 2 == 0 { value << 4 } else { value };
    }
    Some(bytes)
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

text_form!(Sha256Hex);

/// A content digest in the OCI spelling, `sha256:<64 hex>`. Other algorithms are refused: nothing in
/// the field uses them and a second one would be a second thing to get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Sha256Hex);

impl Digest {
    /// Wraps a SHA-256.
    pub const fn sha256(hash: Sha256Hex) -> Self {
        Self(hash)
    }

    /// The hash without its algorithm.
    pub const fn hash(&self) -> Sha256Hex {
        self.0
    }

    /// The first twelve hexadecimal digits, for tables.
    pub fn short(&self) -> String {
        self.0.to_string()[..12].to_owned()
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        text.strip_prefix("sha256:")
            .and_then(parse_hex)
            .map(|bytes| Self(Sha256Hex(bytes)))
            .ok_or_else(|| {
                InvalidText::new(
                    "a digest",
                    text,
                    "`sha256:` and 64 lower-case hexadecimal digits are expected",
                )
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

text_form!(Digest);

#[cfg(test)]
mod tests {
    use super::{Digest, Sha256Hex};

    #[test]
    fn a_digest_reads_back_and_its_hash_too() {
        let hex = "9b1d5c7e0f4a2b6c8d3e5f7091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4";
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(digest.to_string(), format!("sha256:{hex}"));
        assert_eq!(digest.hash(), hex.parse::<Sha256Hex>().unwrap());
        assert_eq!(digest.short(), "9b1d5c7e0f4a");
    }

    #[test]
    fn other_algorithms_lengths_and_cases_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha512:00",
            &format!("sha256:{}", "A".repeat(64)),
            &"0".repeat(64),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
