//! A disk in a file, as the place where an image is written to.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use microagent_ext4::Sink;
use microagent_os::{FsError, fs};

/// How much is written before the system is asked to bring it to the disk: so much that extents stay long,
/// and so little that it is busy with it most of the time.
const WRITE_BACK_BYTES: u64 = 16 << 20;

/// A file that did not exist before.
#[derive(Debug)]
pub struct DiskSink {
    file: File,
    path: PathBuf,
    /// What was written in one piece, and is not on its way to the disk.
    begun: Range<u64>,
}

impl DiskSink {
    /// Makes the file, 0600.
    pub fn create(path: &Path) -> Result<Self, FsError> {
        Ok(Self {
            file: fs::create_new(path)?,
            path: path.to_owned(),
            begun: 0..0,
        })
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<(), FsError> {
        fs::sync_file(&self.file, &self.path)
    }
}

impl Sink for DiskSink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        fs::write_all_at(&self.file, bytes, offset)?;
        if offset != self.begun.end {
            self.begun = offset..offset;
        }
        self.begun.end += bytes.len() as u64;
        if self.begun.end - self.begun.start >= WRITE_BACK_BYTES {
            // What lay in between was left for the sync.
            let len = self.begun.end - self.begun.start;
            fs::begin_write_back(&self.file, self.begun.start, len);
            self.begun.start = self.begun.end;
        }
        Ok(())
    }

    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()> {
        fs::clear_range(&self.file, offset, len)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
