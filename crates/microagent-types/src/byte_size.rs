//! Sizes in bytes, with the units that people type.

use crate::text_form::InvalidText;
use std::fmt;
use std::str::FromStr;

/// A number of bytes. In text `512M`, `8G`, `1.5G`, `64K`, `2T`, also `MiB` and `MB`, in any case;
/// always powers of 1024. A bare number is refused in text: nobody means bytes when they type `512`.
/// In JSON it is a plain integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ByteSize(u64);

/// 1024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1024 KiB.
pub const MIB: u64 = 1 << 20;
/// 1024 MiB.
pub const GIB: u64 = 1 << 30;
/// 1024 GiB.
pub const TIB: u64 = 1 << 40;

impl ByteSize {
    /// A size from a count of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size from a count of MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib * MIB)
    }

    /// The count of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The count of whole MiB, rounded up.
    pub const fn mib_ceil(self) -> u64 {
        self.0.div_ceil(MIB)
    }

    /// Whether the text is a bare number: a size without its unit, worth a hint of its own.
    pub fn lacks_unit(text: &str) -> bool {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    }
}

impl FromStr for ByteSize {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || {
            InvalidText::new(
                "a size",
                text,
                "write a number and a unit: 64K, 512M, 1.5G, 2T",
            )
        };
        let digits = text
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, unit) = text.split_at(digits);
        let unit = match unit.to_ascii_lowercase().as_str() {
            "k" | "kb" | "kib" => KIB,
            "m" | "mb" | "mib" => MIB,
            "g" | "gb" | "gib" => GIB,
            "t" | "tb" | "tib" => TIB,
            _ => return Err(invalid()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
            return Err(invalid());
        }
        let whole: u64 = whole.parse().map_err(|_| invalid())?;
        let numerator: u64 = fraction.parse().map_err(|_| invalid())?;
        let denominator = 10u64.pow(u32::try_from(fraction.len()).expect("at most nine digits"));
        let part = u128::from(numerator) * u128::from(unit) / u128::from(denominator);
        let part = u64::try_from(part).map_err(|_| invalid())?;
        whole
            .checked_mul(unit)
            .and_then(|bytes| bytes.checked_add(part))
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Self)
            .ok_or_else(invalid)
    }
}

impl fmt::Display for ByteSize {
    /// For people: `162 MiB`, `8.0 GiB`; below 10 of a unit one decimal.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0..KIB => format!("{} B", self.0),
            _ => {
                let (unit, name) = match self.0 {
                    KIB..MIB => (KIB, "KiB"),
                    MIB..GIB => (MIB, "MiB"),
                    GIB..TIB => (GIB, "GiB"),
                    _ => (TIB, "TiB"),
                };
                // Tenths are exact in integers; floats would round 9.95 differently on the way.
                let tenths = u128::from(self.0) * 10 / u128::from(unit);
                if tenths < 100 {
                    format!("{}.{} {name}", tenths / 10, tenths % 10)
                } else {
                    format!("{} {name}", tenths / 10)
                }
            }
        };
        formatter.pad(&text)
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, GIB, KIB, MIB, TIB};

    #[test]
    fn units_are_powers_of_1024_whatever_they_are_called() {
        for (text, bytes) in [
            ("64K", 64 * KIB),
            ("512M", 512 * MIB),
            ("512MiB", 512 * MIB),
            ("512mb", 512 * MIB),
            ("1.5G", GIB + GIB / 2),
            ("2T", 2 * TIB),
            ("0.25G", 256 * MIB),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn a_bare_number_and_nonsense_are_refused() {
        for text in [
            "",
            "512",
            "G",
            ".5G",
            "1.G",
            "1.2.3G",
            "-1G",
            "1X",
            "99999999999T",
            "1e3M",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert!(ByteSize::lacks_unit("512"));
        assert!(!ByteSize::lacks_unit("512X"));
    }

    #[test]
    fn people_see_one_decimal_below_ten() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (162 * MIB, "162 MiB"),
            (8 * GIB, "8.0 GiB"),
            (10 * GIB, "10 GiB"),
        ] {
            assert_eq!(ByteSize::from_bytes(bytes).to_string(), text);
        }
    }
}
