//! What an archive holds: entries without their content, and the pieces of sparse files.

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    Regular,
    /// Another name of the entry with the given path.
    HardLink(Vec<u8>),
    /// A symbolic link to the given target.
    Symlink(Vec<u8>),
    /// A character device.
    CharacterDevice {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// An entry without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As the archive has it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// The twelve permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Last change, seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
    /// How long the file is, holes included; 0 for all other kinds.
    pub size: u64,
    /// Extended attributes, name and value, each name once.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A piece of a file that is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it belongs.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}
