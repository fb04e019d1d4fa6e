//! One macro and one error for everything that has a textual form.
//!
//! Without it each type would parse in one place, print in another and deserialise in a third, and
//! the three would drift. A type hands in one parsing function; the macro derives `FromStr`,
//! `Display`, `Serialize` and `Deserialize` from it.

/// A text that does not have the form its type demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {what}: {expected}")]
pub struct InvalidText {
    /// What it should have been, with its article: `a workspace name`.
    pub what: &'static str,
    /// What was given, cut to 256 characters and with control characters escaped.
    pub value: String,
    /// What is accepted, as a phrase.
    pub expected: &'static str,
}

impl InvalidText {
    /// Names the refused text; it is shortened and escaped, since it may come from anybody.
    pub fn new(what: &'static str, value: &str, expected: &'static str) -> Self {
        const SHOWN_CHARS_MAX: usize = 256;
        let value = value
            .chars()
            .take(SHOWN_CHARS_MAX)
            .flat_map(char::escape_debug)
            .collect();
        Self {
            what,
            value,
            expected,
        }
    }
}

/// Derives the textual traits of a type from its `parse_text(&str) -> Result<Self, InvalidText>`
/// and its `Display`.
macro_rules! text_form {
    ($type:ty) => {
        impl std::str::FromStr for $type {
            type Err = $crate::InvalidText;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse_text(text)
            }
        }
        impl TryFrom<&str> for $type {
            type Error = $crate::InvalidText;
            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::parse_text(text)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text =
                    <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse_text(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// `text_form!` for a type that is a checked string: adds `as_str` and `Display`.
macro_rules! checked_string {
    ($type:ident) => {
        impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(&self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        $crate::text_form::text_form!($type);
    };
}

pub(crate) use checked_string;
pub(crate) use text_form;

/// Whether `text` is `[a-z0-9]([a-z0-9-]*[a-z0-9])?` of at most `len_max` bytes.
pub(crate) fn is_dns_label(text: &str, len_max: usize) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            bytes.len() <= len_max
                && alphanumeric(first)
                && alphanumeric(last)
                && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
        }
        _ => false,
    }
}
