//! Entries in, an ext4 image out, onto any positioned sink.
//!
//! The crate removes the detour through a staging tree and a file system tool: the bytes of a file
//! are placed in the image when they are first seen, and everything that describes them follows
//! when the tree is known. The same entries give the same bytes.
//!
//! It must not open, read, mount or check anything: a disk that a guest has written is hostile,
//! and only a guest's kernel opens it. It has no clock and no source of chance; times and the
//! file system id come in as values. It promises nothing to users outside this repository.
//!
//! Modules in reading order: [`image`] is what goes in and the trait; [`tree`] holds it; [`sink`] is where bytes go;
//! [`size`] says how large an image becomes; [`ext4_writer`] is the one implementation, and the
//! private modules each know one structure on disk.

#![forbid(unsafe_code)]

mod allocator;
mod checksum;
mod content;
mod directory;
mod directory_hash;
pub mod ext4_writer;
mod extent;
mod group;
pub mod image;
mod inode;
mod inode_table;
mod journal;
mod numbering;
mod output;
mod resize_inode;
pub mod sink;
pub mod size;
mod slots;
mod superblock;
pub mod tree;
mod xattr;

pub use ext4_writer::Ext4Writer;
pub use image::{
    Attribute, ContentId, DeviceNumber, Identity, ImageError, ImageSummary, ImageWriter, Metadata,
    Timestamp,
};
pub use sink::Sink;
pub use size::{IMAGE_BYTES_STEP, ImageSize};
pub use tree::{NameId, Node, NodeId, NodeKind, Tree};
