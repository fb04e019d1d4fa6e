//! The `write` service: one file, or a tar into a folder.

use super::data::{DataError, DataSource};
use super::{done_of, fail, finish, named, refusal};
use crate::connection::Connection;
use crate::context::{Context, Privilege};
use crate::service::{Refusal, refuse};
use microagent_tar::{ByteSource as _, TarReader};
use microagent_tree::folder::{Folder, parent_of};
use microagent_tree::unpack::{
    AttributeChoice, Powers, UnpackError, UnpackOptions, UnpackOwner, Unpacked, unpack,
};
use microagent_tree::{Counts, Notes};
use microagent_types::GuestPath;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{Owner, ServiceAnswer, SessionDone};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::io;
use std::path::Path;

/// Mode of a file when none is given.
const MODE_DEFAULT: u32 = 0o644;
/// Mode of folders that are made on the way.
const FOLDER_MODE: u32 = 0o755;
/// What a file is called until it is whole.
const UNFINISHED: &str = ".microagent-unfinished-write-";

/// What was asked.
#[derive(Debug)]
pub(crate) struct WriteRequest {
    pub(crate) path: GuestPath,
    pub(crate) archive: bool,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<Owner>,
    pub(crate) keep_owner: bool,
    pub(crate) parents: bool,
}

impl WriteRequest {
    /// Root's, unless said otherwise; in a test nobody's but the caller's.
    fn owner(&self, context: &Context) -> UnpackOwner {
        match (context.privilege, self.owner) {
            (Privilege::Unchanged, _) => UnpackOwner::Caller,
            (Privilege::Root, Some(owner)) => UnpackOwner::Set(owner.uid, owner.gid),
            (Privilege::Root, None) if self.keep_owner => UnpackOwner::Kept,
            (Privilege::Root, None) => UnpackOwner::Set(0, 0),
        }
    }
}

/// Takes what the host sends.
pub(crate) fn write(connection: Connection, context: &Context, request: &WriteRequest) {
    let _open = context.file_work.begin();
    let stops = || context.sessions.is_closing();
    if request.archive {
        archive(connection, context, request, &stops);
    } else {
        file(connection, context, request, &stops);
    }
}

fn archive(
    mut connection: Connection,
    context: &Context,
    request: &WriteRequest,
    stops: &dyn Fn() -> bool,
) {
    let path = &request.path;
    let opened = if request.parents {
        make_folders(Path::new(path.as_str())).and_then(|made| Ok((open(path)?, made)))
    } else {
        open(path).map(|folder| (folder, Made::Nothing))
    };
    let (folder, made) = match opened {
        Ok(opened) => opened,
        Err(error) => return refuse(connection, refusal(path, &error)),
    };
    connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
    connection.flush_some();
    let options = UnpackOptions {
        owner: request.owner(context),
        powers: Powers::Made,
        attributes: AttributeChoice::All,
        bytes_max: u64::MAX,
        single: None,
        root_attributes: made == Made::Folders,
    };
    match take_archive(DataSource::new(&mut connection, stops), &folder, options) {
        Ok(done) => finish(connection, done, stops),
        Err(failure) => fail(connection, failure, stops),
    }
}

fn open(path: &GuestPath) -> io::Result<Folder> {
    Folder::open(Path::new(path.as_str()))
}

/// Unpacks a stream and takes it to its end.
pub(crate) fn take_archive(
    source: DataSource<'_>,
    folder: &Folder,
    options: UnpackOptions<'_>,
) -> Result<SessionDone, Refusal> {
    let mut done = Unpacked::default();
    let mut tar = TarReader::new(source);
    let unpacked = unpack(&mut tar, folder, options, &mut done, &mut |_| true);
    unpacked
        .map_err(|error| unpack_refusal(&error))
        .and_then(|()| {
            let rest = tar.into_source().finish();
            rest.map_err(|error| Refusal::new(FaultKind::Usage, error.to_string()))
        })?;
    let refused = named(done.refused);
    Ok(SessionDone {
        refused,
        ..done_of(&done.counts, done.skipped)
    })
}

fn unpack_refusal(error: &UnpackError) -> Refusal {
    let cause = std::error::Error::source(error);
    let text = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let message = format!("{error}{text}");
    match error {
        UnpackError::Files { source, .. } => {
            let kind = match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Resource,
                io::ErrorKind::ReadOnlyFilesystem => FaultKind::Denied,
                _ => FaultKind::Guest,
            };
            Refusal::new(kind, message).with_errno(source.raw_os_error())
        }
        _ => Refusal::new(FaultKind::Usage, message),
    }
}

/// Whether the last folder is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Nothing,
    Folders,
}

/// Makes a folder and those above it, links on the way followed.
pub(crate) fn make_folders(path: &Path) -> io::Result<Made> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(FOLDER_MODE)) {
        Ok(()) => Ok(Made::Folders),
        Err(rustix::io::Errno::EXIST) => Ok(Made::Nothing),
        Err(rustix::io::Errno::NOENT) => {
            let above = path.parent().ok_or(io::ErrorKind::NotFound)?;
            make_folders(above)?;
            match rustix::fs::mkdir(path, Mode::from_raw_mode(FOLDER_MODE)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(Made::Folders),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn file(
    mut connection: Connection,
    context: &Context,
    request: &WriteRequest,
    stops: &dyn Fn() -> bool,
) {
    let path = Path::new(request.path.as_str());
    let begun = if request.parents
        && let Some(parent) = path.parent()
    {
        make_folders(parent).map(|_| ())
    } else {
        Ok(())
    };
    let unfinished = begun.and_then(|()| Unfinished::begin(path));
    let unfinished = match unfinished {
        Ok(unfinished) => unfinished,
        Err(error) => return refuse(connection, refusal(&request.path, &error)),
    };
    connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
    connection.flush_some();
    let mut source = DataSource::new(&mut connection, stops);
    let written = unfinished
        .take(&mut source)
        .and_then(|bytes| unfinished.complete(request, context).map(|()| bytes));
    match written {
        Ok(bytes) => {
            let counts = Counts {
                files: 1,
                bytes,
                ..Counts::default()
            };
            let done: SessionDone = done_of(&counts, Notes::default());
            finish(connection, done, stops);
        }
        Err(error) => fail(connection, refusal(&request.path, &error), stops),
    }
}

/// A file that has another name until it is whole, and none when it never is.
struct Unfinished {
    folder: Folder,
    name: std::ffi::CString,
    temporary: String,
    file: std::os::fd::OwnedFd,
}

impl Unfinished {
    fn begin(path: &Path) -> io::Result<Self> {
        let (folder, name) = parent_of(path)?;
        let name = name.ok_or(io::ErrorKind::IsADirectory)?;
        let number = crate::clock::uptime_ms();
        let temporary = format!("{UNFINISHED}{number:x}");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&folder, &*temporary, flags, mode)?;
        Ok(Self {
            folder,
            name,
            temporary,
            file,
        })
    }

    fn take(&self, source: &mut DataSource<'_>) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let chunk = source
                .chunk()
                .map_err(|error: DataError| io::Error::other(error))?;
            if chunk.is_empty() {
                return Ok(bytes);
            }
            let count = rustix::io::write(&self.file, chunk)?;
            source.consume(count);
            bytes += count as u64;
        }
    }

    fn complete(&self, request: &WriteRequest, context: &Context) -> io::Result<()> {
        if let UnpackOwner::Set(uid, gid) = request.owner(context) {
            let owner = (uid != u32::MAX && gid != u32::MAX)
                .then(|| (Uid::from_raw(uid), Gid::from_raw(gid)));
            let (uid, gid) = owner.ok_or(io::ErrorKind::InvalidInput)?;
            rustix::fs::fchown(&self.file, Some(uid), Some(gid))?;
        }
        let mode = request.mode.unwrap_or(MODE_DEFAULT) & 0o7777;
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        rustix::fs::fsync(&self.file)?;
        rustix::fs::renameat(&self.folder, &*self.temporary, &self.folder, &self.name)?;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already when it got its name.
        let _ = rustix::fs::unlinkat(&self.folder, &*self.temporary, AtFlags::empty());
    }
}
