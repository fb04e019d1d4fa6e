//! The `list` service: what is in a folder, as deep as asked, in frames of a bounded size.

use super::stat::{entry, file_type};
use super::{finish, refusal};
use crate::connection::Connection;
use crate::context::Context;
use crate::service::refuse;
use microagent_types::GuestPath;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{
    FileEntry, FileType, ServiceAnswer, SessionDone, SessionOutput,
};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use std::io;
use std::os::fd::OwnedFd;

/// Entries of one frame.
const FRAME_ENTRIES_MAX: usize = 256;
/// Bytes of one frame, a control frame's limit halved: names may be long, and a byte of one can take six.
const FRAME_BYTES_MAX: usize = 512 << 10;
const BYTES_OF_A_BYTE_MAX: usize = 6;
/// What an entry takes beside its names.
const ENTRY_BYTES_MAX: usize = 512;
/// Folders inside folders; each costs a descriptor.
const DEPTH_MAX: u32 = 64;
/// Entries of one list, whatever is asked.
const ENTRIES_MAX: u32 = 1_000_000;

/// Sends entries, folders before what is in them.
pub(crate) fn list(
    mut connection: Connection,
    context: &Context,
    path: &GuestPath,
    depth: u32,
    limit: u32,
) {
    let _open = context.file_work.begin();
    let stops = || context.sessions.is_closing();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(error) => return refuse(connection, refusal(path, &error.into())),
    };
    connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
    let mut listing = Listing {
        connection: &mut connection,
        stops: &stops,
        waiting: Vec::new(),
        waiting_bytes_max: 0,
        left: limit.min(ENTRIES_MAX),
        is_truncated: false,
    };
    // A folder that can't be read in part is listed in part.
    let _ = listing.folder(&folder, b"", depth.clamp(1, DEPTH_MAX));
    listing.send();
    let truncated = listing.is_truncated;
    let done = SessionDone {
        truncated: Some(truncated),
        ..SessionDone::default()
    };
    finish(connection, done, &stops);
}

struct Listing<'a> {
    connection: &'a mut Connection,
    stops: &'a dyn Fn() -> bool,
    waiting: Vec<FileEntry>,
    /// What they take at most as a message.
    waiting_bytes_max: usize,
    left: u32,
    is_truncated: bool,
}

impl Listing<'_> {
    fn folder(&mut self, folder: &OwnedFd, path: &[u8], depth: u32) -> io::Result<()> {
        for found in Dir::read_from(folder)? {
            let found = found?;
            let name = found.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if self.left == 0 {
                self.is_truncated = true;
                return Ok(());
            }
            let Ok(status) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let kind = file_type(&status);
            let target = (kind == FileType::Symlink)
                .then(|| rustix::fs::readlinkat(folder, name, Vec::new()).ok())
                .flatten()
                .map(|target| target.to_string_lossy().into_owned());
            let path = if path.is_empty() {
                name.to_vec()
            } else {
                [path, b"/", name].concat()
            };
            self.left -= 1;
            if !self.add(entry(&path, &status, target)) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if kind == FileType::Directory && depth > 1 {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(below) = openat(folder, name, flags, Mode::empty()) {
                    self.folder(&below, &path, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    /// Queues one entry; false when nobody listens any more.
    fn add(&mut self, entry: FileEntry) -> bool {
        let names = entry.name.len() + entry.target.as_ref().map_or(0, String::len);
        let bytes_max = ENTRY_BYTES_MAX + BYTES_OF_A_BYTE_MAX * names;
        if self.waiting_bytes_max + bytes_max > FRAME_BYTES_MAX && !self.send() {
            return false;
        }
        self.waiting.push(entry);
        self.waiting_bytes_max += bytes_max;
        self.waiting.len() < FRAME_ENTRIES_MAX || self.send()
    }

    fn send(&mut self) -> bool {
        self.waiting_bytes_max = 0;
        let entries = std::mem::take(&mut self.waiting);
        if entries.is_empty() {
            return true;
        }
        let message = SessionOutput::Entries { entries };
        self.connection.queue_frame(&Frame::control(&message));
        self.connection.make_room(self.stops)
    }
}
