//! The `read` service: a file as it is, or a file or folder as a tar.

use super::data::DataSink;
use super::stat::entry_at;
use super::{done_of, fail, finish, refusal};
use crate::connection::{Connection, READ_BYTES};
use crate::context::Context;
use crate::service::{Refusal, refuse};
use microagent_tree::folder::parent_of;
use microagent_tree::pack::{Links, Mounts, PackOptions, PackOwner, Packer};
use microagent_tree::{Counts, Notes};
use microagent_types::GuestPath;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{
    FileEntry, FileType, ServiceAnswer, SessionDone, SessionOutput,
};
use rustix::fs::{Mode, OFlags};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// What was asked.
#[derive(Debug)]
pub(crate) struct ReadRequest {
    pub(crate) path: GuestPath,
    pub(crate) archive: bool,
    pub(crate) follow_links: bool,
    pub(crate) limit_bytes: Option<u64>,
}

/// Sends what is at the path.
pub(crate) fn read(mut connection: Connection, context: &Context, request: &ReadRequest) {
    let _open = context.file_work.begin();
    let stops = || context.sessions.is_closing();
    let path = &request.path;
    let entry = match entry_at(path, request.follow_links) {
        Ok(entry) => entry,
        Err(error) => return refuse(connection, refusal(path, &error)),
    };
    if !request.archive && entry.file_type != FileType::File {
        let message = format!("`{path}` is no regular file: it goes as an archive only");
        return refuse(connection, Refusal::new(FaultKind::Usage, message));
    }
    connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
    let meta = SessionOutput::Meta {
        entry: entry.clone(),
    };
    connection.queue_frame(&Frame::control(&meta));
    let mut sink = DataSink::new(&mut connection, &stops);
    let sent = if request.archive {
        archive(&mut sink, request, &entry)
    } else {
        content(&mut sink, request)
    };
    match sent.and_then(|done| sink.finish().map(|()| done)) {
        Ok(done) => finish(connection, done, &stops),
        Err(error) => fail(connection, refusal(path, &error), &stops),
    }
}

/// A folder's entries are named relative to it; anything else has its own name.
fn archive(
    sink: &mut DataSink<'_>,
    request: &ReadRequest,
    entry: &FileEntry,
) -> io::Result<SessionDone> {
    let path = PathBuf::from(request.path.as_str());
    // A path that ends in `..` has no name of its own.
    let path = if request.follow_links || path.file_name().is_none() {
        canonical(&path)?
    } else {
        path
    };
    let (folder, name) = parent_of(&path)?;
    let name = name
        .as_ref()
        .map_or(b".".as_slice(), |name| name.to_bytes());
    let packed_as: &[u8] = if entry.file_type == FileType::Directory {
        b""
    } else {
        name
    };
    let options = PackOptions {
        owner: PackOwner::Kept,
        links: Links::Kept,
        mounts: Mounts::Disks,
    };
    let mut packer = Packer::new(sink, options);
    packer.tree(&folder, name, packed_as)?;
    let (_, counts, skipped) = packer.finish()?;
    Ok(done_of(&counts, skipped))
}

fn canonical(path: &std::path::Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

fn content(sink: &mut DataSink<'_>, request: &ReadRequest) -> io::Result<SessionDone> {
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !request.follow_links);
    let file = rustix::fs::open(request.path.as_str(), flags, Mode::empty())?;
    let mut buffer = vec![0; READ_BYTES];
    let mut left = request.limit_bytes.unwrap_or(u64::MAX);
    let mut counts = Counts {
        files: 1,
        ..Counts::default()
    };
    let mut truncated = false;
    loop {
        let count = match rustix::io::read(&file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let now = usize::try_from(left).map_or(count, |left| left.min(count));
        sink.write_all(&buffer[..now])?;
        counts.bytes += now as u64;
        left -= now as u64;
        if now < count {
            truncated = true;
            break;
        }
    }
    Ok(SessionDone {
        truncated: Some(truncated),
        ..done_of(&counts, Notes::default())
    })
}
