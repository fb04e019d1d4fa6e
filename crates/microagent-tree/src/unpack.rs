//! A tar becomes a tree, in one folder and nowhere else.
//!
//! The archive is hostile: its names are taken apart, every folder on the way is opened from the one
//! above without following a link, and what is new gets a name of its own first and is then moved to
//! the one it is to have. So nothing that exists is written into, and a copy that breaks off leaves
//! whole files or none.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use microagent_tar::{ByteSource, Content, Entry, EntryKind, TarError, TarReader};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::attributes;
pub use crate::choices::{
    AttributeChoice, Powers, UnpackError, UnpackOptions, UnpackOwner, Unpacked,
};
use crate::folder::Folder;
use crate::report::Counts;

/// Entries of one archive.
const ENTRIES_MAX: u64 = 16_000_000;
/// Folders whose mode and times are set when everything in them is there; further ones get theirs
/// at once.
const LATER_MAX: usize = 1 << 20;
/// Folders on the way to one entry.
const DEPTH_MAX: usize = 1024;
/// What a file is called until it is whole.
const UNFINISHED: &str = ".microagent-unfinished-";

/// Unpacks the archive into `folder`. `goes_on` is asked between two entries. What was done is in
/// `done` also when it fails.
///
/// # Errors
/// When the archive breaks off or lies, the disk is full, a bound is passed, or `goes_on` says no.
pub fn unpack<S: ByteSource>(
    tar: &mut TarReader<S>,
    folder: &Folder,
    options: UnpackOptions<'_>,
    done: &mut Unpacked,
    goes_on: &mut dyn FnMut(&Counts) -> bool,
) -> Result<(), UnpackError> {
    let mut unpacker = Unpacker {
        root: Rc::new(Folder(folder.0.try_clone().map_err(|source| {
            UnpackError::Files {
                path: ".".to_owned(),
                source,
            }
        })?)),
        options,
        done,
        way: Vec::new(),
        later: Vec::new(),
        unfinished: 0,
        left: options.bytes_max,
    };
    let unpacked = unpacker.all(tar, goes_on);
    unpacker.set_later();
    unpacked
}

/// A folder whose mode and times wait for what comes into it.
struct Later {
    way: Vec<Vec<u8>>,
    entry: Entry,
}

struct Unpacker<'a> {
    root: Rc<Folder>,
    options: UnpackOptions<'a>,
    done: &'a mut Unpacked,
    /// The folders to the entry before, each open: the next one mostly lies beside it.
    way: Vec<(Vec<u8>, Rc<Folder>)>,
    later: Vec<Later>,
    unfinished: u64,
    left: u64,
}

/// Why one entry is not there. Only what would stop every other entry too is fatal.
enum Refusal {
    Skipped(String),
    Refused(&'static str),
    Fatal(UnpackError),
}

impl From<UnpackError> for Refusal {
    fn from(error: UnpackError) -> Self {
        Self::Fatal(error)
    }
}

impl From<TarError> for Refusal {
    fn from(error: TarError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Unpacker<'_> {
    fn all<S: ByteSource>(
        &mut self,
        tar: &mut TarReader<S>,
        goes_on: &mut dyn FnMut(&Counts) -> bool,
    ) -> Result<(), UnpackError> {
        let mut entries = 0;
        while let Some(entry) = tar.next_entry()? {
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(UnpackError::TooMuch { limit: ENTRIES_MAX });
            }
            if !goes_on(&self.done.counts) {
                return Err(UnpackError::Cancelled);
            }
            let taken = if self.options.single.is_some() && entries > 1 {
                Err(Refusal::Refused(
                    "one file was asked for, and this is another",
                ))
            } else {
                self.entry(tar, &entry)
            };
            match taken {
                Ok(()) => {}
                Err(Refusal::Skipped(reason)) => self.done.skipped.add(&entry.path, reason),
                Err(Refusal::Refused(reason)) => self.done.refused.add(&entry.path, reason),
                Err(Refusal::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn entry<S: ByteSource>(
        &mut self,
        tar: &mut TarReader<S>,
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let mut way = match self.options.single {
            Some(_) if entry.kind == EntryKind::Directory => {
                return Err(Refusal::Refused(
                    "a file was asked for, and this is a folder",
                ));
            }
            Some(name) => vec![name.to_vec()],
            None => parts(&entry.path)?,
        };
        let Some(name) = way.pop() else {
            return self.root_entry(entry);
        };
        let parent = self.enter(&way)?;
        match &entry.kind {
            EntryKind::Directory => {
                way.push(name.clone());
                return self.directory(&parent, &name, way, entry);
            }
            EntryKind::Regular => self.file(tar, &parent, &name, entry)?,
            EntryKind::HardLink(target) => self.hard_link(&parent, &name, target)?,
            EntryKind::Symlink(target) => self.symlink(&parent, &name, target, entry)?,
            EntryKind::Fifo => {
                self.node(&parent, &name, FileType::Fifo, 0, entry)?;
            }
            EntryKind::CharacterDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(&parent, &name, FileType::CharacterDevice, device, entry)?;
            }
            EntryKind::BlockDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(&parent, &name, FileType::BlockDevice, device, entry)?;
            }
        }
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), Refusal> {
        if entry.kind != EntryKind::Directory {
            return Err(Refusal::Refused("it has no name"));
        }
        self.done.counts.directories += 1;
        if self.options.root_attributes {
            self.set_now_or_later(Vec::new(), entry);
        }
        Ok(())
    }

    /// Opens the folder that `way` leads to, making what is missing.
    fn enter(&mut self, way: &[Vec<u8>]) -> Result<Rc<Folder>, Refusal> {
        let common = self
            .way
            .iter()
            .zip(way)
            .take_while(|((open, _), wanted)| open == *wanted)
            .count();
        self.way.truncate(common);
        for name in &way[common..] {
            let above = self.way.last().map_or(&self.root, |(_, folder)| folder);
            let opened = match above.enter(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_folder(above, name)?;
                    above.enter(name)
                }
                opened => opened,
            };
            let opened = opened.map_err(|error| on_the_way(name, error))?;
            self.way.push((name.clone(), Rc::new(opened)));
        }
        let last = self.way.last().map_or(&self.root, |(_, folder)| folder);
        Ok(Rc::clone(last))
    }

    fn directory(
        &mut self,
        parent: &Folder,
        name: &[u8],
        way: Vec<Vec<u8>>,
        entry: &Entry,
    ) -> Result<(), Refusal> {
        match parent.make_folder(name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A link to a folder is no folder here.
                parent
                    .enter(name)
                    .map_err(|error| on_the_way(name, error))?;
            }
            Err(error) => return Err(failed(name, error)),
        }
        self.done.counts.directories += 1;
        self.set_now_or_later(way, entry);
        Ok(())
    }

    fn file<S: ByteSource>(
        &mut self,
        tar: &mut TarReader<S>,
        parent: &Folder,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let unfinished = self.unfinished_name();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(parent.fd(), &*unfinished, flags, mode);
        let file = file.map_err(|error| failed(name, error))?;
        let written = self
            .write(tar, &file, name, entry)
            .and_then(|()| self.attributes(&file, name, entry))
            .and_then(|()| finish(parent, &unfinished, name));
        if written.is_err() {
            // A file that is not whole is none.
            let _ = rustix::fs::unlinkat(parent.fd(), &*unfinished, AtFlags::empty());
            return written;
        }
        self.done.counts.files += 1;
        Ok(())
    }

    fn write<S: ByteSource>(
        &mut self,
        tar: &mut TarReader<S>,
        file: &OwnedFd,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let (mut at, mut written, mut left) = (0u64, 0u64, self.left);
        let limit = self.options.bytes_max;
        tar.content(|content| -> Result<(), Refusal> {
            match content {
                Content::Hole(bytes) => at += bytes,
                Content::Bytes(bytes) => {
                    left = left
                        .checked_sub(bytes.len() as u64)
                        .ok_or(UnpackError::TooMuch { limit })?;
                    write_all(file, bytes, at).map_err(|error| failed(name, error))?;
                    at += bytes.len() as u64;
                    written = at;
                }
            }
            Ok(())
        })??;
        self.done.counts.bytes += self.left - left;
        self.left = left;
        if written == entry.size {
            // The file is new, so it ends here; to say so would be another act of the file system.
            return Ok(());
        }
        // A hole at the end has no byte that was written behind it.
        rustix::fs::ftruncate(file, entry.size).map_err(|error| failed(name, error))
    }

    /// Owner before mode, since a change of owner takes set-id bits and capabilities away; times last.
    fn attributes(&mut self, file: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), Refusal> {
        if let Some((uid, gid)) = self.owner(entry) {
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| failed(name, error))?;
        }
        rustix::fs::fchmod(file, self.mode(entry)).map_err(|error| failed(name, error))?;
        let choice = self.options.attributes;
        for lost in attributes::write(file.as_fd(), &entry.attributes, choice) {
            let reason = format!("its attribute `{lost}` could not be kept");
            self.done.skipped.add(&entry.path, reason);
        }
        rustix::fs::futimens(file, &times(entry)).map_err(|error| failed(name, error))
    }

    fn owner(&self, entry: &Entry) -> Option<(Uid, Gid)> {
        let (uid, gid) = match self.options.owner {
            UnpackOwner::Kept => (entry.uid, entry.gid),
            UnpackOwner::Set(uid, gid) => (uid, gid),
            UnpackOwner::Caller => return None,
        };
        // The one number that means nobody, to the kernel and so to rustix.
        (uid != u32::MAX && gid != u32::MAX).then(|| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    fn mode(&self, entry: &Entry) -> Mode {
        let mask = match self.options.powers {
            Powers::Made => 0o7777,
            Powers::Dropped => 0o1777,
        };
        Mode::from_raw_mode(u32::from(entry.mode) & mask)
    }

    fn hard_link(&mut self, parent: &Folder, name: &[u8], target: &[u8]) -> Result<(), Refusal> {
        let mut way = parts(target)?;
        let Some(target_name) = way.pop() else {
            return Err(Refusal::Refused("it links to a folder"));
        };
        let mut holder = Rc::clone(&self.root);
        for part in &way {
            let next = holder
                .enter(part)
                .map_err(|error| on_the_way(part, error))?;
            holder = Rc::new(next);
        }
        let unfinished = self.unfinished_name();
        let linked = rustix::fs::linkat(
            holder.fd(),
            target_name.as_slice(),
            parent.fd(),
            &*unfinished,
            AtFlags::empty(),
        );
        linked.map_err(|error| failed(name, error))?;
        let finished = finish(parent, &unfinished, name);
        // Renaming one name of a file to another name of it does nothing and leaves both.
        let _ = rustix::fs::unlinkat(parent.fd(), &*unfinished, AtFlags::empty());
        finished?;
        self.done.counts.files += 1;
        Ok(())
    }

    fn symlink(
        &mut self,
        parent: &Folder,
        name: &[u8],
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let unfinished = self.unfinished_name();
        rustix::fs::symlinkat(target, parent.fd(), &*unfinished)
            .map_err(|error| failed(name, error))?;
        self.unopened(parent, &unfinished, name, entry)?;
        self.done.counts.symlinks += 1;
        Ok(())
    }

    fn node(
        &mut self,
        parent: &Folder,
        name: &[u8],
        kind: FileType,
        device: u64,
        entry: &Entry,
    ) -> Result<(), Refusal> {
        if self.options.powers == Powers::Dropped {
            let what = match kind {
                FileType::Fifo => "it is a pipe",
                _ => "it is a device",
            };
            return Err(Refusal::Skipped(what.to_owned()));
        }
        let unfinished = self.unfinished_name();
        rustix::fs::mknodat(parent.fd(), &*unfinished, kind, Mode::empty(), device)
            .map_err(|error| failed(name, error))?;
        // The name is new and nobody's link: chmod follows nothing here.
        let changed = rustix::fs::chmodat(
            parent.fd(),
            &*unfinished,
            self.mode(entry),
            AtFlags::empty(),
        );
        if let Err(error) = changed {
            let _ = rustix::fs::unlinkat(parent.fd(), &*unfinished, AtFlags::empty());
            return Err(failed(name, error));
        }
        self.unopened(parent, &unfinished, name, entry)?;
        self.done.counts.others += 1;
        Ok(())
    }

    /// Owner, times and name of what can't be opened.
    fn unopened(
        &mut self,
        parent: &Folder,
        unfinished: &str,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let owned = match self.owner(entry) {
            None => Ok(()),
            Some((uid, gid)) => rustix::fs::chownat(
                parent.fd(),
                unfinished,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            ),
        };
        let finished = owned
            .and_then(|()| {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(parent.fd(), unfinished, &times(entry), flags)
            })
            .map_err(|error| failed(name, error))
            .and_then(|()| finish(parent, unfinished, name));
        if finished.is_err() {
            let _ = rustix::fs::unlinkat(parent.fd(), unfinished, AtFlags::empty());
        }
        finished
    }

    fn unfinished_name(&mut self) -> String {
        self.unfinished += 1;
        format!("{UNFINISHED}{:x}-{:x}", std::process::id(), self.unfinished)
    }

    fn set_now_or_later(&mut self, way: Vec<Vec<u8>>, entry: &Entry) {
        let later = Later {
            way,
            entry: entry.clone(),
        };
        if self.later.len() < LATER_MAX {
            self.later.push(later);
        } else {
            self.set(&later);
        }
    }

    /// The deepest come first: a change in a folder changes its time.
    fn set_later(&mut self) {
        let mut later = std::mem::take(&mut self.later);
        later.sort_by_key(|later| std::cmp::Reverse(later.way.len()));
        for later in &later {
            self.set(later);
        }
    }

    fn set(&mut self, later: &Later) {
        let Ok(folder) = self.enter(&later.way) else {
            return self.done.skipped.add(&later.entry.path, "it went away");
        };
        let name = later.entry.path.clone();
        match self.attributes(&folder.0, &name, &later.entry) {
            Ok(()) => {}
            Err(Refusal::Skipped(reason)) => self.done.skipped.add(&name, reason),
            Err(_) => self
                .done
                .skipped
                .add(&name, "its mode and times could not be set"),
        }
    }
}

/// The names that a path consists of; none for the folder itself.
fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    if path.first() == Some(&b'/') {
        return Err(Refusal::Refused("its name is absolute"));
    }
    let parts: Vec<Vec<u8>> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect();
    if parts.iter().any(|part| part == b"..") {
        return Err(Refusal::Refused("its name leads out of the folder"));
    }
    if parts.len() > DEPTH_MAX {
        return Err(Refusal::Refused("it lies too deep"));
    }
    Ok(parts)
}

fn make_folder(above: &Folder, name: &[u8]) -> Result<(), Refusal> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdirat(&above.0, name, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed(name, error)),
    }
}

/// Gives a whole file its name; a folder of that name stays.
fn finish(parent: &Folder, unfinished: &str, name: &[u8]) -> Result<(), Refusal> {
    rustix::fs::renameat(parent.fd(), unfinished, parent.fd(), name)
        .map_err(|error| failed(name, error))
}

/// A folder on the way that is none, or a link.
fn on_the_way(name: &[u8], error: io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP | Errno::NOTDIR) => {
            Refusal::Refused("a link or a file is in the way to it")
        }
        _ => failed(name, error),
    }
}

fn failed(name: &[u8], error: impl Into<io::Error>) -> Refusal {
    let source = error.into();
    let is_fatal = matches!(
        source.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::MFILE | Errno::NFILE)
    );
    if is_fatal {
        let path = String::from_utf8_lossy(name).into_owned();
        return Refusal::Fatal(UnpackError::Files { path, source });
    }
    Refusal::Skipped(format!("it cannot be made: {source}"))
}

fn times(entry: &Entry) -> Timestamps {
    let modified = Timespec {
        tv_sec: entry.seconds,
        tv_nsec: i64::from(entry.nanoseconds),
    };
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                bytes = &bytes[count..];
                at += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
