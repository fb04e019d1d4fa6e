//! Identities: of a workspace, of one boot of it, of a request.
//!
//! Names are reused, ids are not; a late message that carries an id can't hit the wrong workspace.

use crate::text_form::{InvalidText, checked_string, text_form};
use std::fmt;

/// Makes a UUID type whose text form is the lower-case hyphenated one of RFC 9562.
macro_rules! uuid_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type([u8; 16]);

        impl $type {
            /// A version 7 UUID from Unix milliseconds and ten random bytes (RFC 9562, section 5.7).
            pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid_v7(unix_ms, random))
            }

            fn parse_text(text: &str) -> Result<Self, InvalidText> {
                parse_uuid_v7(text).map(Self).ok_or_else(|| {
                    InvalidText::new($what, text, "a lower-case UUID of version 7 is expected")
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, formatter)
            }
        }

        text_form!($type);
    };
}

uuid_type!(
    /// What a workspace is, for as long as it exists, whatever its name.
    WorkspaceId, "a workspace id"
);
uuid_type!(
    /// One run of a workspace's VM.
    BootId, "a boot id"
);

fn uuid_v7(unix_ms: u64, random: [u8; 10]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    bytes
}

fn parse_uuid_v7(text: &str) -> Option<[u8; 16]> {
    let source = text.as_bytes();
    if source.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut nibbles = 0;
    for (index, &byte) in source.iter().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        bytes[nibbles / 2] |= if nibbles % 2 == 0 { value << 4 } else { value };
        nibbles += 1;
    }
    (bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10).then_some(bytes)
}

fn write_uuid(bytes: &[u8; 16], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            formatter.write_str("-")?;
        }
        write!(formatter, "{byte:02x}")?;
    }
    Ok(())
}

/// A caller's name for one request: 1 to 128 printable ASCII characters, stored in every event of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if printable && (1..=128).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "a request id",
            text,
            "1 to 128 printable ASCII characters are expected",
        ))
    }
}

checked_string!(RequestId);

#[cfg(test)]
mod tests {
    use super::{BootId, RequestId, WorkspaceId};
    use proptest::prelude::*;

    #[test]
    fn only_lower_case_version_7_is_an_id() {
        let good = "01956f10-7a3c-7b11-8c2e-5d0f3a9b6e21";
        assert_eq!(good.parse::<WorkspaceId>().unwrap().to_string(), good);
        for text in [
            "01956F10-7a3c-7b11-8c2e-5d0f3a9b6e21",
            "01956f10-7a3c-4b11-8c2e-5d0f3a9b6e21",
            "01956f10-7a3c-7b11-0c2e-5d0f3a9b6e21",
            "01956f107a3c7b118c2e5d0f3a9b6e21",
            "",
        ] {
            assert!(text.parse::<WorkspaceId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_id_is_printable_and_bounded() {
        assert!("r-1".parse::<RequestId>().is_ok());
        assert!("".parse::<RequestId>().is_err());
        assert!("a\nb".parse::<RequestId>().is_err());
        assert!("x".repeat(129).parse::<RequestId>().is_err());
    }

    proptest! {
        #[test]
        fn every_made_id_reads_back(ms in 0u64..(1 << 48), random in any::<[u8; 10]>()) {
            let id = BootId::from_parts(ms, random);
            prop_assert_eq!(id.to_string().parse::<BootId>().unwrap(), id);
        }
    }
}
