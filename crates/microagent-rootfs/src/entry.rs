//! One entry of a layer, its path taken apart and judged.
//!
//! A path that leaves the root is refused and not mended: an honest archive has none, and a
//! mended one would land where nobody expects it. A symbolic link may point anywhere; it is
//! followed inside the root, by the rules of [`crate::flatten`].

use microagent_ext4::{ContentId, DeviceNumber, Metadata};
use thiserror::Error;

/// The longest name, as ext4 and the kernel have it.
const NAME_BYTES_MAX: usize = 255;

/// A path below the root: its names, none of them empty, `.` or `..`. No names is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPath {
    bytes: Box<[u8]>,
}

/// Why a path is refused. The path is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// It begins with a slash.
    #[error("the path `{path}` is absolute")]
    Absolute {
        /// The path.
        path: String,
    },
    /// It has a `..` in it.
    #[error("the path `{path}` leads upwards")]
    Upwards {
        /// The path.
        path: String,
    },
    /// It is empty, or has a NUL in it.
    #[error("the path `{path}` is not one")]
    Malformed {
        /// The path.
        path: String,
    },
    /// One of its names is longer than ext4 can hold.
    #[error("a name in the path `{path}` is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong {
        /// The path.
        path: String,
    },
}

/// Whether a path may begin with a slash: targets of hard links often do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadingSlash {
    /// It is refused.
    Refused,
    /// It means the root of the image.
    MeansRoot,
}

impl EntryPath {
    /// Takes a path of an archive apart.
    pub fn parse(path: &[u8], leading_slash: LeadingSlash) -> Result<Self, PathError> {
        let shown = || path.escape_ascii().to_string();
        if path.is_empty() || path.contains(&0) {
            return Err(PathError::Malformed { path: shown() });
        }
        if path.starts_with(b"/") && leading_slash == LeadingSlash::Refused {
            return Err(PathError::Absolute { path: shown() });
        }
        let mut bytes = Vec::with_capacity(path.len());
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(PathError::Upwards { path: shown() }),
                _ if name.len() > NAME_BYTES_MAX => {
                    return Err(PathError::NameTooLong { path: shown() });
                }
                _ => {}
            }
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(name);
        }
        Ok(Self {
            bytes: bytes.into(),
        })
    }

    /// Its names, from the root downwards.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.bytes
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
    }

    /// The last name and the path before it; `None` for the root.
    pub fn split_last(&self) -> Option<(Self, &[u8])> {
        if self.bytes.is_empty() {
            return None;
        }
        let at = self.bytes.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = match at {
            Some(at) => (&self.bytes[..at], &self.bytes[at + 1..]),
            None => (&b""[..], &self.bytes[..]),
        };
        Some((
            Self {
                bytes: parent.into(),
            },
            name,
        ))
    }

    /// For a message.
    pub fn shown(&self) -> String {
        if self.bytes.is_empty() {
            "/".to_owned()
        } else {
            self.bytes.escape_ascii().to_string()
        }
    }
}

/// What an entry puts at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory; one that is there keeps what is in it.
    Directory,
    /// A file whose bytes have been placed.
    Regular(ContentId),
    /// Another name of what is at the given path.
    HardLink(EntryPath),
    /// A symbolic link to anything.
    Symlink(Box<[u8]>),
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
}

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// Where.
    pub path: EntryPath,
    /// What.
    pub kind: EntryKind,
    /// Owner, mode, time, attributes; a hard link's are those of its target.
    pub metadata: Metadata,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &[u8]) -> Vec<Vec<u8>> {
        let path = EntryPath::parse(path, LeadingSlash::Refused).unwrap();
        path.names().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn dots_and_empty_parts_mean_nothing() {
        assert_eq!(names(b"./a//b/./c/"), [b"a", b"b", b"c"]);
        assert!(names(b"./").is_empty());
        assert!(names(b".").is_empty());
    }

    #[test]
    fn a_path_that_leaves_the_root_is_refused_by_name() {
        for (path, text) in [
            (&b"/etc/passwd"[..], "the path `/etc/passwd` is absolute"),
            (b"../x", "the path `../x` leads upwards"),
            (b"a/../../x", "the path `a/../../x` leads upwards"),
            (b"a/..", "the path `a/..` leads upwards"),
            (b"", "the path `` is not one"),
            (b"a\0b", "the path `a\\x00b` is not one"),
        ] {
            let error = EntryPath::parse(path, LeadingSlash::Refused).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        assert!(EntryPath::parse(&[b'n'; 255], LeadingSlash::Refused).is_ok());
        assert!(EntryPath::parse(&[b'n'; 256], LeadingSlash::Refused).is_err());
    }

    #[test]
    fn the_target_of_a_hard_link_may_begin_with_a_slash() {
        let path = EntryPath::parse(b"/bin/sh", LeadingSlash::MeansRoot).unwrap();
        assert_eq!(path.shown(), "bin/sh");
        assert!(EntryPath::parse(b"/../x", LeadingSlash::MeansRoot).is_err());
    }
}
