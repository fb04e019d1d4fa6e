//! What a caller chooses and what it is told: the same on hosts whose trees can't be read here.

use std::io;

use microagent_tar::TarError;

use crate::report::{Counts, Notes};

/// Who owns what is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackOwner {
    /// As it is.
    Kept,
    /// This user and group.
    Set(u32, u32),
}

/// What is done with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are packed as links.
    Kept,
    /// What they lead to is packed in their place; one that leads nowhere stays a link.
    Followed,
}

/// Which file systems are entered below the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// All of them.
    All,
    /// Those on a disk: not the kernel's own views of itself.
    Disks,
}

/// How a tree is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// Whose it becomes.
    pub owner: PackOwner,
    /// What becomes of links.
    pub links: Links,
    /// Where it ends.
    pub mounts: Mounts,
}

/// Which attributes are set by whoever unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeChoice {
    /// All that travel.
    All,
    /// Only what has no power: `user.*`.
    User,
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnpackOwner {
    /// As the archive says.
    Kept,
    /// This user and group.
    Set(u32, u32),
    /// Whoever unpacks.
    Caller,
}

/// What becomes of what has power: devices, set-id bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Powers {
    /// It is made as the archive says.
    Made,
    /// Devices and pipes are left out, and set-id bits are taken away.
    Dropped,
}

/// How an archive is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions<'a> {
    /// Whose it becomes.
    pub owner: UnpackOwner,
    /// What may be made.
    pub powers: Powers,
    /// Which extended attributes are set.
    pub attributes: AttributeChoice,
    /// Most bytes of content.
    pub bytes_max: u64,
    /// The archive is one file: this is its name, whatever the archive says, and a second entry or
    /// a folder is refused.
    pub single: Option<&'a [u8]>,
    /// Whether the mode and times of `./` are those of the folder itself.
    pub root_attributes: bool,
}

/// Why an archive was not unpacked to its end. What was complete stays.
#[derive(Debug)]
pub enum UnpackError {
    /// It can't be read on.
    Archive(TarError),
    /// The files can't be written: the disk is full, or broken.
    Files {
        /// Which one was being written.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// More than was allowed.
    TooMuch {
        /// The bound, in bytes of content or in entries.
        limit: u64,
    },
    /// The caller has had enough.
    Cancelled,
}

impl std::fmt::Display for UnpackError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Archive(_) => formatter.write_str("the archive cannot be unpacked"),
            Self::Files { path, .. } => write!(formatter, "`{path}` cannot be written"),
            Self::TooMuch { limit } => write!(formatter, "the archive holds more than {limit}"),
            Self::Cancelled => formatter.write_str("the copy was cancelled"),
        }
    }
}

impl std::error::Error for UnpackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Archive(error) => Some(error),
            Self::Files { source, .. } => Some(source),
            Self::TooMuch { .. } | Self::Cancelled => None,
        }
    }
}

impl From<TarError> for UnpackError {
    fn from(error: TarError) -> Self {
        Self::Archive(error)
    }
}

/// What unpacking did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// How much.
    pub counts: Counts,
    /// What could not be had here, and was left out.
    pub skipped: Notes,
    /// What must not be: entries that leave the folder.
    pub refused: Notes,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Something else.
    Other,
}
