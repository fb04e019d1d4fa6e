//! What near the host a guest may reach, because somebody opened it on purpose.

use crate::text_form::{InvalidText, text_form};
use std::fmt;

/// One thing that a guest's network keeps away unless it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Opening {
    /// What listens on the host's loopback, at the address of the guest's gateway.
    Loopback,
    /// The networks that the host is attached to, and private ones; not the host itself.
    Local,
}

impl Opening {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Loopback, Self::Local];

    /// The word as it is typed, stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Local => "local",
        }
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        Self::ALL
            .into_iter()
            .find(|opening| opening.as_str() == text)
            .ok_or_else(|| {
                InvalidText::new(
                    "something to open to the guest",
                    text,
                    "`loopback` or `local` is expected",
                )
            })
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

text_form!(Opening);

#[cfg(test)]
mod tests {
    use super::Opening;

    #[test]
    fn words_are_read_as_they_are_shown() {
        for opening in Opening::ALL {
            assert_eq!(opening.to_string().parse(), Ok(opening));
        }
        assert!("host".parse::<Opening>().is_err());
        assert!("Local".parse::<Opening>().is_err());
    }
}
