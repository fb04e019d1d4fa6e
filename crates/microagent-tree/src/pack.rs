//! A tree becomes a tar.
//!
//! Each folder is entered by descriptor from the one above, so a link that is swapped in while it
//! runs is packed as a link or refused, never entered. Content that changes meanwhile is cut or
//! filled to the length that was announced, and named.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use microagent_tar::limits::{PATH_BYTES_MAX, SPARSE_PIECES_MAX};
use microagent_tar::{Entry, EntryKind, Piece, TarWriter};
use rustix::fs::{Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::attributes;
pub use crate::choices::{Links, Mounts, PackOptions, PackOwner};
use crate::folder::{ENTER, Folder};
use crate::report::{Counts, Notes};

/// Folders inside folders; each costs a descriptor.
const DEPTH_MAX: usize = 256;
/// Files with several names that are remembered; further ones are packed once for each name.
const LINKS_MAX: usize = 1 << 20;
/// Names of one folder.
const NAMES_MAX: usize = 4 << 20;
const READ_BYTES: usize = 64 << 10;
/// Most bytes of a file that the kernel makes up.
const MADE_UP_BYTES_MAX: usize = 4 << 20;
/// A block of `st_blocks`, by stat(2).
const STAT_BLOCK_BYTES: u64 = 512;

/// Packs trees into one archive.
#[derive(Debug)]
pub struct Packer<W> {
    writer: TarWriter<W>,
    options: PackOptions,
    file_mode: Option<u16>,
    counts: Counts,
    skipped: Notes,
    /// The first name of files that have several.
    names: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// A folder that is being packed.
struct Level {
    folder: Folder,
    names: std::vec::IntoIter<Vec<u8>>,
    path: Vec<u8>,
    device: u64,
    inode: u64,
}

impl<W: Write> Packer<W> {
    /// Packs into `sink`.
    pub fn new(sink: W, options: PackOptions) -> Self {
        Self {
            writer: TarWriter::new(sink),
            options,
            file_mode: None,
            counts: Counts::default(),
            skipped: Notes::default(),
            names: HashMap::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Gives every file these permissions in place of its own; folders and links keep theirs.
    #[must_use]
    pub fn with_file_mode(mut self, mode: u16) -> Self {
        self.file_mode = Some(mode & 0o7777);
        self
    }

    /// Ends the archive and tells what was packed.
    ///
    /// # Errors
    /// Whatever the sink gives.
    pub fn finish(self) -> io::Result<(W, Counts, Notes)> {
        Ok((self.writer.finish()?, self.counts, self.skipped))
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
        (self.writer.into_sink(), self.skipped)
    }

    /// Packs what `name` is in `folder`, with all below it, under `path` in the archive. A folder whose
    /// `path` is empty becomes `./`, and its entries stand beside it.
    ///
    /// # Errors
    /// When it is not there or can't be read, and whatever the sink gives. What can't be read below it
    /// is skipped and named.
    pub fn tree(&mut self, folder: &Folder, name: &[u8], path: &[u8]) -> io::Result<()> {
        let mut levels = Vec::new();
        if let Some(level) = self.one(folder, name, path.to_vec(), &levels)? {
            levels.push(level);
        }
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let path = joined(&level.path, &name);
            if path.len() > PATH_BYTES_MAX {
                self.skipped.add(&path, "its path is too long");
                continue;
            }
            let level = levels.last().expect("looked at above");
            match self.one(&level.folder, &name, path.clone(), &levels) {
                Ok(Some(next)) if levels.len() == DEPTH_MAX => {
                    drop(next);
                    self.skipped.add(&path, "it lies too deep");
                }
                Ok(Some(next)) => levels.push(next),
                Ok(None) => {}
                Err(error) if is_of_entry(&error) => self.skipped.add(&path, reason(&error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Packs one entry; gives the folder when it is one to be entered.
    fn one(
        &mut self,
        folder: &Folder,
        name: &[u8],
        path: Vec<u8>,
        above: &[Level],
    ) -> io::Result<Option<Level>> {
        let status = self.status(folder, name).map_err(of_entry)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => return self.directory(folder, name, path, above),
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | self.no_follow();
                let file = rustix::fs::openat(folder.fd(), name, flags, Mode::empty());
                self.file(&file.map_err(of_entry)?, path)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder.fd(), name, Vec::new());
                let target = target.map_err(of_entry)?.into_bytes();
                self.counts.symlinks += 1;
                let entry = self.entry(&status, path, EntryKind::Symlink(target));
                self.writer.entry(&entry, None)?;
            }
            FileType::Socket => self.skipped.add(&path, "it is a socket"),
            other => {
                let (major, minor) = (
                    rustix::fs::major(status.st_rdev),
                    rustix::fs::minor(status.st_rdev),
                );
                let kind = match other {
                    FileType::CharacterDevice => EntryKind::CharacterDevice { major, minor },
                    FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
                    _ => EntryKind::Fifo,
                };
                self.counts.others += 1;
                let entry = self.entry(&status, path, kind);
                self.writer.entry(&entry, None)?;
            }
        }
        Ok(None)
    }

    fn no_follow(&self) -> OFlags {
        match self.options.links {
            Links::Kept => OFlags::NOFOLLOW,
            Links::Followed => OFlags::empty(),
        }
    }

    fn status(&self, folder: &Folder, name: &[u8]) -> io::Result<Stat> {
        if self.options.links == Links::Followed
            && let Ok(status) = rustix::fs::statat(folder.fd(), name, rustix::fs::AtFlags::empty())
        {
            return Ok(status);
        }
        folder.status(name)
    }

    fn directory(
        &mut self,
        folder: &Folder,
        name: &[u8],
        path: Vec<u8>,
        above: &[Level],
    ) -> io::Result<Option<Level>> {
        let flags = match self.options.links {
            Links::Kept => ENTER,
            Links::Followed => ENTER.difference(OFlags::NOFOLLOW),
        };
        let opened = rustix::fs::openat(folder.fd(), name, flags, Mode::empty());
        let opened = Folder(opened.map_err(of_entry)?);
        // Of the folder that was opened, whatever the name stands for by now.
        let status = rustix::fs::fstat(&opened.0).map_err(of_entry)?;
        let shown = if path.is_empty() {
            b"./".to_vec()
        } else {
            [path.as_slice(), b"/"].concat()
        };
        let mut entry = self.entry(&status, shown, EntryKind::Directory);
        entry.attributes = attributes::read(opened.fd());
        self.counts.directories += 1;
        self.writer.entry(&entry, None)?;
        let (device, inode) = (status.st_dev, status.st_ino);
        let is_other = above.last().is_some_and(|level| level.device != device);
        if self.options.mounts == Mounts::Disks && is_other && rustix::fs::major(device) == 0 {
            self.skipped
                .add(&path, "the kernel's own files are mounted there");
            return Ok(None);
        }
        if above
            .iter()
            .any(|level| (level.device, level.inode) == (device, inode))
        {
            self.skipped
                .add(&path, "a link leads back to a folder around it");
            return Ok(None);
        }
        let names = names_in(&opened).map_err(of_entry)?.into_iter();
        Ok(Some(Level {
            folder: opened,
            names,
            path,
            device,
            inode,
        }))
    }

    fn file(&mut self, file: &OwnedFd, path: Vec<u8>) -> io::Result<()> {
        let status = rustix::fs::fstat(file).map_err(of_entry)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            self.skipped
                .add(&path, "it became something else while it was read");
            return Ok(());
        }
        self.counts.files += 1;
        let identity = (status.st_dev, status.st_ino);
        if status.st_nlink > 1 {
            if let Some(first) = self.names.get(&identity) {
                let kind = EntryKind::HardLink(first.clone());
                let entry = self.entry(&status, path, kind);
                return self.writer.entry(&entry, None);
            }
            if self.names.len() < LINKS_MAX {
                self.names.insert(identity, path.clone());
            }
        }
        let size = u64::try_from(status.st_size).unwrap_or(0);
        let mut entry = self.entry(&status, path, EntryKind::Regular);
        if size == 0 && rustix::fs::major(status.st_dev) == 0 {
            return self.made_up(file, entry);
        }
        entry.size = size;
        entry.attributes = attributes::read(file.as_fd());
        let occupied = u64::try_from(status.st_blocks).unwrap_or(0) * STAT_BLOCK_BYTES;
        let pieces = if occupied < size {
            pieces_of(file, size)
        } else {
            None
        };
        self.writer.entry(&entry, pieces.as_deref())?;
        let whole = [Piece {
            offset: 0,
            len: size,
        }];
        let mut missing = 0;
        for piece in pieces.as_deref().unwrap_or(&whole) {
            missing += self.piece(file, *piece)?;
            self.counts.bytes += piece.len;
        }
        if missing > 0 {
            self.skipped.add(
                &entry.path,
                "it became shorter while it was read; zeros fill it",
            );
        }
        Ok(())
    }

    /// A file that the kernel makes up as it is read has no length before.
    fn made_up(&mut self, file: &OwnedFd, mut entry: Entry) -> io::Result<()> {
        let mut content = Vec::new();
        while content.len() < MADE_UP_BYTES_MAX {
            match rustix::io::read(file, &mut self.buffer) {
                Ok(0) => break,
                Ok(count) => content.extend_from_slice(&self.buffer[..count]),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.skipped
                        .add(&entry.path, format!("it cannot be read: {error}"));
                    break;
                }
            }
        }
        entry.size = content.len() as u64;
        self.counts.bytes += entry.size;
        self.writer.entry(&entry, None)?;
        self.writer.content(&content)
    }

    /// Copies a piece; gives how much of it was not there any more.
    fn piece(&mut self, file: &OwnedFd, piece: Piece) -> io::Result<u64> {
        let (mut at, end) = (piece.offset, piece.offset + piece.len);
        while at < end {
            let room = usize::try_from(end - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            match rustix::io::pread(file, &mut self.buffer[..room], at) {
                Ok(count) if count > 0 => {
                    self.writer.content(&self.buffer[..count])?;
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return self.zeros(end - at).map(|()| end - at),
            }
        }
        Ok(0)
    }

    fn zeros(&mut self, mut bytes: u64) -> io::Result<()> {
        self.buffer.fill(0);
        while bytes > 0 {
            let now = usize::try_from(bytes).map_or(READ_BYTES, |bytes| bytes.min(READ_BYTES));
            self.writer.content(&self.buffer[..now])?;
            bytes -= now as u64;
        }
        Ok(())
    }

    fn entry(&self, status: &Stat, path: Vec<u8>, kind: EntryKind) -> Entry {
        let (uid, gid) = match self.options.owner {
            PackOwner::Kept => (status.st_uid, status.st_gid),
            PackOwner::Set(uid, gid) => (uid, gid),
        };
        let own = u16::try_from(status.st_mode & 0o7777).expect("twelve bits");
        let mode = match kind {
            EntryKind::Regular | EntryKind::HardLink(_) => self.file_mode.unwrap_or(own),
            _ => own,
        };
        Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            seconds: status.st_mtime,
            nanoseconds: u32::try_from(status.st_mtime_nsec).unwrap_or(0),
            size: 0,
            attributes: Vec::new(),
        }
    }
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return name.to_vec();
    }
    [path, b"/", name].concat()
}

/// Sorted, so that the same tree is the same archive.
fn names_in(folder: &Folder) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder.fd())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
        if names.len() > NAMES_MAX {
            return Err(Errno::FBIG.into());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Where a file has content; none when that can't be told or is not worth telling.
fn pieces_of(file: &OwnedFd, size: u64) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(_) => return None,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))
            .ok()?
            .min(size);
        if start >= end || pieces.len() == SPARSE_PIECES_MAX {
            return None;
        }
        pieces.push(Piece {
            offset: start,
            len: end - start,
        });
        at = end;
    }
    Some(pieces)
}

/// What is wrong with one entry, told from what is wrong with the sink.
#[derive(Debug)]
struct OfEntry(io::Error);

impl std::fmt::Display for OfEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for OfEntry {}

fn of_entry(error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), OfEntry(error))
}

fn is_of_entry(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<OfEntry>())
}

/// What the kernel said of the entry that could not be packed, where an error is about one.
pub fn entry_errno(error: &io::Error) -> Option<i32> {
    let inner = error.get_ref()?.downcast_ref::<OfEntry>()?;
    inner.0.raw_os_error()
}

fn reason(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}
