//! Packing on a host whose folders can't be opened: an archive without entries.

use std::io::{self, Write};

use microagent_tar::TarWriter;

pub use crate::choices::{Links, Mounts, PackOptions, PackOwner};
use crate::folder::Folder;
use crate::report::{Counts, Notes};

/// Packs nothing, since there is no folder to pack from.
#[derive(Debug)]
pub struct Packer<W> {
    writer: TarWriter<W>,
}

impl<W: Write> Packer<W> {
    /// Packs into `sink`.
    pub fn new(sink: W, _options: PackOptions) -> Self {
        Self {
            writer: TarWriter::new(sink),
        }
    }

    /// Changes nothing, since there is no file.
    #[must_use]
    pub fn with_file_mode(self, _mode: u16) -> Self {
        self
    }

    /// Ends the archive and tells what was packed.
    ///
    /// # Errors
    /// Whatever the sink gives.
    pub fn finish(self) -> io::Result<(W, Counts, Notes)> {
        Ok((self.writer.finish()?, Counts::default(), Notes::default()))
    }

    /// Ends the archive; nothing may be packed after it.
    ///
    /// # Errors
    /// Whatever the sink gives.
    pub fn end(&mut self) -> io::Result<()> {
        self.writer.end()
    }

    /// The sink, however far it got, and what was left out.
    pub fn into_parts(self) -> (W, Notes) {
        (self.writer.into_sink(), Notes::default())
    }

    /// Packs what `name` is in `folder`.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn tree(&mut self, folder: &Folder, _name: &[u8], _path: &[u8]) -> io::Result<()> {
        folder.nothing()
    }
}

/// What the kernel said of the entry that could not be packed; there is none.
pub fn entry_errno(_error: &io::Error) -> Option<i32> {
    None
}
