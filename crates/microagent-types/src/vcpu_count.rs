//! How many virtual CPUs a workspace has.

use crate::text_form::InvalidText;
use std::fmt;
use std::str::FromStr;

/// 1 to 32 virtual CPUs (Firecracker's own limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VcpuCount(u8);

impl VcpuCount {
    /// Most virtual CPUs of one workspace.
    pub const MAX: u8 = 32;

    /// `None` outside 1 to 32.
    pub fn new(count: u64) -> Option<Self> {
        u8::try_from(count)
            .ok()
            .filter(|count| (1..=Self::MAX).contains(count))
            .map(Self)
    }

    /// The count.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for VcpuCount {
    type Err = InvalidText;
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse::<u64>()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| InvalidText::new("a number of CPUs", text, "1 to 32 is expected"))
    }
}

impl fmt::Display for VcpuCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl serde::Serialize for VcpuCount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for VcpuCount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u64::deserialize(deserializer)?;
        Self::new(count).ok_or_else(|| serde::de::Error::custom("1 to 32 CPUs are expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::VcpuCount;

    #[test]
    fn the_limits_are_one_and_thirty_two() {
        assert!(VcpuCount::new(0).is_none());
        assert_eq!(VcpuCount::new(1).unwrap().get(), 1);
        assert_eq!("32".parse::<VcpuCount>().unwrap().get(), 32);
        assert!("33".parse::<VcpuCount>().is_err());
        assert!(serde_json::from_str::<VcpuCount>("0").is_err());
    }
}
