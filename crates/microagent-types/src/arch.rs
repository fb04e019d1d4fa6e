//! Processor architectures of guests, in the OCI spelling.

use crate::text_form::{InvalidText, text_form};
use std::fmt;

/// A guest's architecture; always its host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// The OCI name (`GOARCH`), which is also ours.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name that kernels, QEMU and Rust targets use.
    pub const fn machine_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The architecture this program was built for; `None` on one that runs no guests.
    pub fn current() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        match text {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            _ => Err(InvalidText::new(
                "an architecture",
                text,
                "amd64 or arm64 is expected",
            )),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

text_form!(Arch);

#[cfg(test)]
mod tests {
    use super::Arch;

    #[test]
    fn the_spelling_is_the_one_of_oci() {
        assert_eq!("amd64".parse::<Arch>().unwrap(), Arch::Amd64);
        assert!("x86_64".parse::<Arch>().is_err());
    }
}
