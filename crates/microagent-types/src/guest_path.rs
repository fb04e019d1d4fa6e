//! Absolute paths inside a guest.

use crate::text_form::{InvalidText, checked_string};

/// An absolute, `/`-separated path in a guest: UTF-8, at most 4096 bytes, no NUL. `.` and `..` are
/// left to the guest, which alone knows its links.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestPath(String);

impl GuestPath {
    /// The root directory.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        if text.starts_with('/') && text.len() <= 4096 && !text.contains('\0') {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "a guest path",
            text,
            "an absolute path is expected",
        ))
    }
}

checked_string!(GuestPath);

#[cfg(test)]
mod tests {
    use super::GuestPath;

    #[test]
    fn a_guest_path_is_absolute_on_every_host() {
        assert!("/srv".parse::<GuestPath>().is_ok());
        assert!("srv".parse::<GuestPath>().is_err());
        assert!("".parse::<GuestPath>().is_err());
        assert!("/a\0".parse::<GuestPath>().is_err());
    }
}
