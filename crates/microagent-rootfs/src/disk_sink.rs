//! A disk in a file, as the place where an image is written to.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use microagent_ext4::Sink;
use microagent_os::{FsError, fs};

/// A file that did not exist before.
#[derive(Debug)]
pub struct DiskSink {
    file: File,
    path: PathBuf,
}

impl DiskSink {
    /// Makes the file, 0600.
    pub fn create(path: &Path) -> Result<Self, FsError> {
        Ok(Self {
            file: fs::create_new(path)?,
            path: path.to_owned(),
        })
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<(), FsError> {
        fs::sync_file(&self.file, &self.path)
    }
}

impl Sink for DiskSink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        fs::write_all_at(&self.file, bytes, offset)
    }

    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()> {
        fs::clear_range(&self.file, offset, len)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
