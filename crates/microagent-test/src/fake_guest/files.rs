//! The file services of the fake guest. Its files are the host's: a path of the guest is that path here.
//!
//! Archives are packed and unpacked by another implementation than the product's, so that ours does not
//! judge itself. A guest that lies is asked for by name: what ends in `.lie-folder` or `.lie-file` is
//! sent as the archive of a folder or a file, whatever bytes it holds.

use microagent_types::GuestPath;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
use microagent_wire::guest::boot_spec::BootFiles;
use microagent_wire::guest::control::GuestMessage;
use microagent_wire::guest::service::{
    FileEntry, FileType, ServiceAnswer, SessionDone, SessionOutput,
};
use microagent_wire::limits::RAW_BYTES_MAX;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Takes the files of a first boot, and what the guest says of them then.
pub(super) fn deliver(stream: &mut UnixStream, files: &BootFiles) -> io::Result<GuestMessage> {
    let (mut entries, mut bytes) = (0, 0);
    for announced in &files.streams {
        let target = Path::new(announced.target.as_str());
        fs::create_dir_all(target)?;
        let mut data = Data::new(stream);
        let mut archive = tar::Archive::new(&mut data);
        archive.set_overwrite(true);
        for entry in archive.entries()? {
            let mut entry = entry?;
            entries += 1;
            bytes += entry.size();
            entry.unpack_in(target)?;
        }
        io::copy(&mut data, &mut io::sink())?;
    }
    Ok(GuestMessage::FilesDelivered { entries, bytes })
}

/// Sends a file or folder as a tar.
pub(super) fn read(mut stream: UnixStream, path: &GuestPath) -> io::Result<()> {
    let path = Path::new(path.as_str());
    let Some(mut entry) = accept_of(&mut stream, path)? else {
        return Ok(());
    };
    let lie = path.extension().and_then(|ending| ending.to_str());
    if lie == Some("lie-folder") {
        entry.file_type = FileType::Directory;
    }
    let is_lie = lie.is_some_and(|ending| ending.starts_with("lie-"));
    let is_folder = entry.file_type == FileType::Directory;
    say(&mut stream, &SessionOutput::Meta { entry })?;
    let sink = io::BufWriter::with_capacity(RAW_BYTES_MAX, Frames(&mut stream));
    let mut sink = if is_lie {
        let mut sink = sink;
        io::copy(&mut fs::File::open(path)?, &mut sink)?;
        sink
    } else {
        let mut archive = tar::Builder::new(sink);
        archive.follow_symlinks(false);
        if is_folder {
            archive.append_dir_all(".", path)?;
        } else {
            archive.append_path_with_name(path, path.file_name().unwrap_or_default())?;
        }
        archive.into_inner()?
    };
    sink.flush()?;
    drop(sink);
    write_frame(&mut stream, &Frame::end_of(FrameKind::Data))?;
    say(&mut stream, &SessionOutput::Done(SessionDone::default()))?;
    linger(&mut stream);
    Ok(())
}

/// Takes a tar into a folder.
pub(super) fn write(mut stream: UnixStream, path: &GuestPath) -> io::Result<()> {
    let path = Path::new(path.as_str());
    if accept_of(&mut stream, path)?.is_none() {
        return Ok(());
    }
    let mut data = Data::new(&mut stream);
    let unpacked = tar::Archive::new(&mut data).unpack(path);
    io::copy(&mut data, &mut io::sink())?;
    let answer = match unpacked {
        Ok(()) => SessionOutput::Done(SessionDone::default()),
        Err(error) => SessionOutput::Failed {
            kind: FaultKind::Guest,
            message: error.to_string(),
            errno: error.raw_os_error(),
        },
    };
    say(&mut stream, &answer)?;
    linger(&mut stream);
    Ok(())
}

/// Tells what a path is.
pub(super) fn stat(mut stream: UnixStream, path: &GuestPath) -> io::Result<()> {
    let answer = match entry_of(Path::new(path.as_str())) {
        Ok(entry) => ServiceAnswer {
            entry: Some(entry),
            ..ServiceAnswer::accepted()
        },
        Err(error) => not_found(path.as_str(), &error),
    };
    write_frame(&mut stream, &Frame::control(&answer))
}

/// The guest's answer to a request about a path; none when it was a refusal.
fn accept_of(stream: &mut UnixStream, path: &Path) -> io::Result<Option<FileEntry>> {
    let (answer, entry) = match entry_of(path) {
        Ok(entry) => (ServiceAnswer::accepted(), Some(entry)),
        Err(error) => (not_found(&path.display().to_string(), &error), None),
    };
    write_frame(stream, &Frame::control(&answer))?;
    Ok(entry)
}

fn not_found(path: &str, error: &io::Error) -> ServiceAnswer {
    let message = format!("there is no `{path}` in the guest");
    ServiceAnswer::refused(FaultKind::NotFound, message, error.raw_os_error())
}

fn entry_of(path: &Path) -> io::Result<FileEntry> {
    let found = fs::symlink_metadata(path)?;
    Ok(FileEntry {
        name: path.display().to_string(),
        name_encoding: None,
        file_type: if found.is_dir() {
            FileType::Directory
        } else if found.is_symlink() {
            FileType::Symlink
        } else {
            FileType::File
        },
        size_bytes: found.len(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        mtime_us: found.mtime() * 1_000_000,
        target: None,
    })
}

fn say(stream: &mut UnixStream, message: &SessionOutput) -> io::Result<()> {
    write_frame(stream, &Frame::control(message))
}

/// Waits for the host to close, as guest init does.
fn linger(stream: &mut UnixStream) {
    let mut unread = [0; 256];
    while stream.read(&mut unread).is_ok_and(|count| count > 0) {}
}

/// Bytes as data frames.
struct Frames<'a>(&'a mut UnixStream);

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = bytes.len().min(RAW_BYTES_MAX);
        write_frame(self.0, &Frame::new(FrameKind::Data, bytes[..now].to_vec()))?;
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Data frames as bytes, up to the empty one.
struct Data<'a> {
    stream: &'a mut UnixStream,
    frame: io::Cursor<Vec<u8>>,
    is_ended: bool,
}

impl<'a> Data<'a> {
    fn new(stream: &'a mut UnixStream) -> Self {
        Self {
            stream,
            frame: io::Cursor::default(),
            is_ended: false,
        }
    }
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.frame.read(buffer)?;
            if count > 0 || self.is_ended {
                return Ok(count);
            }
            let frame = read_frame(self.stream, Sender::Host)?;
            let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.is_ended = frame.payload.is_empty();
            self.frame = io::Cursor::new(frame.payload);
        }
    }
}
