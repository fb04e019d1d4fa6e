//! The name of a data disk within one workspace.

use crate::text_form::{InvalidText, checked_string, is_dns_label};

/// A data disk's name: `[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?` and not `root`, which is the root disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskName(String);

impl DiskName {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        if is_dns_label(text, 32) && text != "root" {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "a disk name",
            text,
            "use 1 to 32 lower-case letters, digits and hyphens; `root` is taken",
        ))
    }
}

checked_string!(DiskName);

#[cfg(test)]
mod tests {
    use super::DiskName;

    #[test]
    fn root_and_long_names_are_refused() {
        assert!("data".parse::<DiskName>().is_ok());
        assert!("x".repeat(32).parse::<DiskName>().is_ok());
        assert!("x".repeat(33).parse::<DiskName>().is_err());
        assert!("root".parse::<DiskName>().is_err());
    }
}
