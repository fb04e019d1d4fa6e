//! Tar archives: read as the hostile bytes that they are, written as POSIX pax.
//!
//! Images come in them, and files travel to and from a guest in them. It must not know what becomes
//! of an entry: no path is judged here, no file is opened, nothing is held beyond one header. It
//! promises nothing to users outside this repository.
//!
//! Modules in reading order: [`entry`] is what both sides speak of, [`reader`] and [`writer`] are the
//! two directions, [`limits`] has every bound.

#![forbid(unsafe_code)]

pub mod entry;
mod header;
pub mod limits;
mod pax;
pub mod reader;
mod sparse;
pub mod writer;

#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryKind, Piece};
pub use reader::{ByteSource, Content, TarError, TarReader};
pub use writer::TarWriter;
