//! Absolute host paths.

use crate::text_form::{InvalidText, checked_string};
use std::path::{Path, PathBuf};

/// An absolute path on the host: UTF-8, at most 4096 bytes, no NUL. It says nothing about whether
/// anything is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsPath(String);

/// Longest path in bytes (`PATH_MAX` of Linux).
pub const PATH_BYTES_MAX: usize = 4096;

impl AbsPath {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        if Path::new(text).is_absolute() && text.len() <= PATH_BYTES_MAX && !text.contains('\0') {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "an absolute path",
            text,
            "write the whole path from the root",
        ))
    }

    /// The path as the standard library's type.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// This path with further components.
    ///
    /// # Errors
    /// When the joined path is longer than allowed or holds a NUL.
    pub fn join(&self, tail: &str) -> Result<Self, InvalidText> {
        let joined = self.as_path().join(tail);
        Self::try_from(joined.as_path())
    }
}

impl TryFrom<&Path> for AbsPath {
    type Error = InvalidText;
    fn try_from(path: &Path) -> Result<Self, InvalidText> {
        match path.to_str() {
            Some(text) => Self::parse_text(text),
            None => Err(InvalidText::new(
                "an absolute path",
                &path.to_string_lossy(),
                "a path in UTF-8 is expected",
            )),
        }
    }
}

impl AsRef<Path> for AbsPath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl From<AbsPath> for PathBuf {
    fn from(path: AbsPath) -> Self {
        Self::from(path.0)
    }
}

checked_string!(AbsPath);

#[cfg(test)]
mod tests {
    use super::{AbsPath, PATH_BYTES_MAX};

    #[test]
    fn only_absolute_bounded_paths_pass() {
        assert!("/a/b".parse::<AbsPath>().is_ok());
        assert!("a/b".parse::<AbsPath>().is_err());
        assert!("/a\0b".parse::<AbsPath>().is_err());
        assert!(
            format!("/{}", "x".repeat(PATH_BYTES_MAX - 1))
                .parse::<AbsPath>()
                .is_ok()
        );
        assert!(
            format!("/{}", "x".repeat(PATH_BYTES_MAX))
                .parse::<AbsPath>()
                .is_err()
        );
    }
}
