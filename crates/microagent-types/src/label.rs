//! Label keys.

use crate::text_form::{InvalidText, checked_string};

/// The key of a label: 1 to 63 letters, digits, `.`, `_`, `-` and `/`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelName(String);

/// Longest value of a label in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Most labels of one workspace.
pub const LABELS_MAX: usize = 64;

impl LabelName {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let known = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
        if begins && known && text.len() <= 63 {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "a label key",
            text,
            "use 1 to 63 letters, digits, `.`, `_`, `-` and `/`",
        ))
    }
}

checked_string!(LabelName);

#[cfg(test)]
mod tests {
    use super::LabelName;

    #[test]
    fn a_label_key_begins_with_a_letter_or_digit() {
        assert!("team/role.x-1".parse::<LabelName>().is_ok());
        assert!("-team".parse::<LabelName>().is_err());
        assert!("".parse::<LabelName>().is_err());
        assert!("a b".parse::<LabelName>().is_err());
    }
}
