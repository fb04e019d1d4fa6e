//! What goes into an image: contents, a tree of nodes ([`crate::tree`]), and the trait that takes them.
//!
//! Contents come first, as a stream, because layers are read once and nothing may be kept aside.
//! The tree comes last, because only the last layer says what is left of the first. Contents that
//! no node of the tree refers to are given back as free space.
//!
//! Names, link targets and attribute values are bytes: nothing here is text.

use std::io;

use thiserror::Error;

use crate::tree::Tree;

/// The longest name of a directory entry, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest target of a symbolic link, in bytes; the kernel reads no longer one.
pub const SYMLINK_BYTES_MAX: usize = 4095;
/// The most names that one file may have.
pub const LINKS_MAX: u32 = 65_000;
/// The largest file, in bytes: 2^32 blocks less one.
pub const FILE_BYTES_MAX: u64 = ((1 << 32) - 1) * 4096;

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds; ext4 holds -2^31 to 2^34 - 2^31 - 1, and what lies outside is moved to the
    /// nearer end.
    pub seconds: i64,
    /// Nanoseconds, below one thousand million.
    pub nanoseconds: u32,
}

/// The number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// One extended attribute, its name with the prefix (`user.`, `security.`, ...).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// The full name.
    pub name: Box<[u8]>,
    /// The value as the kernel's system calls carry it.
    pub value: Box<[u8]>,
}

/// What every kind of node has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The twelve permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Last change of the content; the other three times take it too.
    pub modified: Timestamp,
    /// Extended attributes, each name once.
    pub attributes: Vec<Attribute>,
}

/// A content that was given to an [`ImageWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub(crate) u32);

/// What makes two images with equal trees differ. A caller that wants equal bytes gives equal
/// values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The id of the file system; checksums and directory hashes are seeded with it.
    pub uuid: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub created: u32,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSummary {
    /// The length of the image.
    pub size_bytes: u64,
    /// Blocks in use, the journal and other tables included, in bytes.
    pub used_bytes: u64,
    /// Nodes with at least one name, directories included.
    pub nodes: u64,
}

/// Why an image can't be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The sink refused bytes.
    #[error("cannot write the image at byte {offset}")]
    Write {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The given size is too small for what is in the image.
    #[error("the image needs {needed_bytes} bytes and its disk has {given_bytes}")]
    TooSmall {
        /// The smallest size that would do.
        needed_bytes: u64,
        /// The size that was asked for.
        given_bytes: u64,
    },
    /// The size is beyond what this writer makes.
    #[error("an image of {given_bytes} bytes is outside of {min_bytes} to {max_bytes}")]
    SizeOutOfRange {
        /// What was asked for.
        given_bytes: u64,
        /// The least.
        min_bytes: u64,
        /// The most.
        max_bytes: u64,
    },
    /// A content has more bytes than a file can have.
    #[error("a file of more than {FILE_BYTES_MAX} bytes does not fit into ext4")]
    FileTooLarge,
    /// All contents together have more blocks than an image can have.
    #[error("the contents need more blocks than ext4 can address")]
    TooManyBlocks,
    /// Files with so many holes that their places would not fit into memory.
    #[error("the files of the image lie in more than {limit} pieces between holes")]
    TooManyPieces {
        /// How many there may be.
        limit: usize,
    },
    /// A name that no directory can hold.
    #[error("`{path}` has a name that ext4 cannot hold")]
    InvalidName {
        /// The path, escaped.
        path: String,
    },
    /// One name stands twice in one directory.
    #[error("`{path}` is there twice")]
    DuplicateName {
        /// The path, escaped.
        path: String,
    },
    /// A directory has a second name.
    #[error("`{path}` is a second name of a directory")]
    DirectoryLinkedTwice {
        /// The path, escaped.
        path: String,
    },
    /// A file has more names than ext4 counts.
    #[error("`{path}` has {links} names, and ext4 counts up to {LINKS_MAX}")]
    TooManyLinks {
        /// One of its paths, escaped.
        path: String,
        /// How many names.
        links: u32,
    },
    /// A symbolic link that is empty or too long.
    #[error(
        "the target of the symbolic link `{path}` has {bytes} bytes, 1 to {SYMLINK_BYTES_MAX} are possible"
    )]
    SymlinkLength {
        /// The path, escaped.
        path: String,
        /// Its length.
        bytes: usize,
    },
    /// Extended attributes that do not fit beside the inode and into one block.
    #[error("the extended attributes of `{path}` do not fit into ext4's {limit_bytes} bytes")]
    AttributesTooLarge {
        /// The path, escaped.
        path: String,
        /// How much there is room for.
        limit_bytes: usize,
    },
    /// An attribute that Linux has no place for.
    #[error("the extended attribute `{name}` of `{path}` is not one that Linux can hold")]
    AttributeInvalid {
        /// The path, escaped.
        path: String,
        /// The attribute's name, escaped.
        name: String,
    },
    /// A directory with more entries than its index can address.
    #[error("the directory `{path}` has more entries than its index can hold")]
    DirectoryTooLarge {
        /// The path, escaped.
        path: String,
    },
    /// More nodes than an image of the given size has inodes for.
    #[error("the tree has {nodes} nodes, more than ext4 can number")]
    TooManyNodes {
        /// How many.
        nodes: u64,
    },
}

/// Takes contents, then a tree, and leaves an image.
///
/// Contents are given one after another: [`begin`](Self::begin), any number of
/// [`append`](Self::append) and [`append_hole`](Self::append_hole), [`end`](Self::end). After an
/// error the writer is of no more use and what the sink holds is not an image.
pub trait ImageWriter {
    /// Opens a content.
    ///
    /// # Panics
    /// When one is open.
    fn begin(&mut self);

    /// Adds bytes to the open content. Blocks of zeros take no space.
    ///
    /// # Panics
    /// When none is open.
    fn append(&mut self, bytes: &[u8]) -> Result<(), ImageError>;

    /// Adds zeros to the open content without looking at them.
    ///
    /// # Panics
    /// When none is open.
    fn append_hole(&mut self, len: u64) -> Result<(), ImageError>;

    /// Closes the open content.
    ///
    /// # Panics
    /// When none is open.
    fn end(&mut self) -> Result<ContentId, ImageError>;

    /// Writes everything else. The image is complete in the sink when this returns; making it
    /// durable is up to the sink's owner.
    fn finish(self, tree: &Tree) -> Result<ImageSummary, ImageError>;
}
