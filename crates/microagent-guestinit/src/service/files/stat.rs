//! The `stat` service, and what a status says on the wire.

use super::refusal;
use crate::connection::Connection;
use crate::service::{ANSWER_LIMIT, LINGER_LIMIT, refuse};
use microagent_types::GuestPath;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{FileEntry, FileType, ServiceAnswer};
use rustix::fs::{AtFlags, CWD, Stat, statat};
use std::io;

/// Says what a path is.
pub(crate) fn stat(mut connection: Connection, path: &GuestPath, follow_links: bool) {
    match entry_at(path, follow_links) {
        Ok(entry) => {
            let answer = ServiceAnswer {
                entry: Some(entry),
                ..ServiceAnswer::accepted()
            };
            connection.send_frame(&Frame::control(&answer), ANSWER_LIMIT);
            connection.linger(LINGER_LIMIT);
        }
        Err(error) => refuse(connection, refusal(path, &error)),
    }
}

/// The entry of a path, by the name that it ends in.
pub(super) fn entry_at(path: &GuestPath, follow_links: bool) -> io::Result<FileEntry> {
    let flags = if follow_links {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    let status = statat(CWD, path.as_str(), flags)?;
    let target = (file_type(&status) == FileType::Symlink)
        .then(|| rustix::fs::readlink(path.as_str(), Vec::new()))
        .transpose()?;
    let name = path.as_str().trim_end_matches('/').rsplit('/').next();
    let target = target.map(|target| target.to_string_lossy().into_owned());
    Ok(entry(name.unwrap_or("").as_bytes(), &status, target))
}

/// A status as the host is told of it.
pub(super) fn entry(name: &[u8], status: &Stat, target: Option<String>) -> FileEntry {
    let (name, name_encoding) = match std::str::from_utf8(name) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (base64(name), Some("base64".to_owned())),
    };
    let micros = i64::try_from(status.st_mtime_nsec / 1000).unwrap_or(0);
    FileEntry {
        name,
        name_encoding,
        file_type: file_type(status),
        size_bytes: u64::try_from(status.st_size).unwrap_or(0),
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        mtime_us: status
            .st_mtime
            .saturating_mul(1_000_000)
            .saturating_add(micros),
        target,
    }
}

pub(super) fn file_type(status: &Stat) -> FileType {
    use rustix::fs::FileType as Kind;
    match Kind::from_raw_mode(status.st_mode) {
        Kind::RegularFile => FileType::File,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::CharacterDevice => FileType::CharDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::Unknown => FileType::Other,
    }
}

/// RFC 4648, with padding: for the few names that are no text.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = 0u32;
        for index in 0..3 {
            bits = bits << 8 | u32::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            let digit = (bits >> (18 - 6 * index)) & 63;
            if index > group.len() {
                text.push('=');
            } else {
                text.push(char::from(DIGITS[digit as usize]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn the_vectors_of_the_rfc() {
        let rows = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (plain, encoded) in rows {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(b"\xff\xfe"), "//4=");
    }
}
