//! A data disk as it is typed: `NAME=SIZE:/MOUNT[:rw|ro]`, or a file in place of the size.
//!
//! What the middle is, its shape says: a tarball by its ending, a file by a slash, a size otherwise.
//! No file is looked at.

use crate::text_form::InvalidText;
use crate::{ByteSize, DiskName, GuestPath};
use std::str::FromStr;

/// Endings of a tarball whose content becomes a disk.
const TAR_ENDINGS: [&str; 3] = [".tar", ".tar.gz", ".tar.zst"];

/// Where the content of a data disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskContent {
    /// Nowhere: an empty disk of this size.
    Empty(ByteSize),
    /// A disk image that is there, as typed.
    Image(String),
    /// A tarball, as typed.
    Tarball(String),
}

/// A data disk of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// What it is called.
    pub name: DiskName,
    /// What is on it.
    pub content: DiskContent,
    /// Where the guest mounts it.
    pub mount: GuestPath,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

impl DiskSpec {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let invalid = || {
            InvalidText::new(
                "a disk",
                text,
                "write NAME=SIZE:/MOUNT, NAME=./disk.ext4:/MOUNT or NAME=data.tar:/MOUNT, and :ro behind it for reading only",
            )
        };
        let (name, rest) = text.split_once('=').ok_or_else(invalid)?;
        let (rest, read_only) = match (rest.strip_suffix(":ro"), rest.strip_suffix(":rw")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => (rest, false),
        };
        let at = rest.rfind(":/").ok_or_else(invalid)?;
        let (content, mount) = (&rest[..at], &rest[at + 1..]);
        if content.is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            name: name.parse()?,
            content: DiskContent::of(content)?,
            mount: mount.parse()?,
            read_only,
        })
    }
}

impl DiskContent {
    /// What a file is, by the ending of its name.
    pub fn of_path(path: String) -> Self {
        if TAR_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            Self::Tarball(path)
        } else {
            Self::Image(path)
        }
    }

    fn of(text: &str) -> Result<Self, InvalidText> {
        if TAR_ENDINGS.iter().any(|ending| text.ends_with(ending)) {
            Ok(Self::Tarball(text.to_owned()))
        } else if text.contains(['/', '\\']) {
            Ok(Self::Image(text.to_owned()))
        } else {
            Ok(Self::Empty(text.parse()?))
        }
    }
}

impl FromStr for DiskSpec {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::parse_text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskContent, DiskSpec};
    use crate::ByteSize;

    fn content(text: &str) -> (DiskContent, String, bool) {
        let spec: DiskSpec = text.parse().unwrap();
        (spec.content, spec.mount.to_string(), spec.read_only)
    }

    #[test]
    fn the_shape_of_the_middle_says_what_it_is() {
        let data = |content, read_only| (content, "/data".to_owned(), read_only);
        let size = DiskContent::Empty(ByteSize::from_mib(20 << 10));
        assert_eq!(content("data=20G:/data"), data(size.clone(), false));
        assert_eq!(content("data=20G:/data:rw"), data(size, false));
        let image = DiskContent::Image("./models.ext4".to_owned());
        assert_eq!(content("data=./models.ext4:/data:ro"), data(image, true));
        for ending in super::TAR_ENDINGS {
            let file = format!("set{ending}");
            let expected = DiskContent::Tarball(file.clone());
            assert_eq!(content(&format!("d={file}:/data")), data(expected, false));
        }
    }

    #[test]
    fn a_path_with_colons_and_a_drive_are_split_at_the_mount() {
        let image = DiskContent::Image("/a:/b".to_owned());
        assert_eq!(content("d=/a:/b:/m").0, image);
        let image = DiskContent::Image(r"C:\disks\a.vhd".to_owned());
        assert_eq!(content(r"d=C:\disks\a.vhd:/m").0, image);
    }

    #[test]
    fn what_lacks_a_part_is_refused() {
        for text in [
            "20G:/data",
            "data=20G",
            "data=:/data",
            "data=20G:data",
            "data=many:/data",
            "root=20G:/data",
            "Data=20G:/data",
            "=20G:/data",
        ] {
            assert!(text.parse::<DiskSpec>().is_err(), "{text}");
        }
    }
}
