//! An OCI layout in one tar file, and the table of contents that both kinds of archive use.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use microagent_os::fs;
use microagent_tar::{ByteSource, EntryKind, TarError, TarReader};
use microagent_types::{Arch, Digest};

use super::{BlobStore, Found, pick::pick, regular_file};
use crate::{
    blob::{Blob, BlobReader, Promised},
    error::OciError,
    limits::{ARCHIVE_ENTRIES_MAX, ARCHIVE_LINKS_MAX},
    manifest::Index,
};

/// Opens the archive at `path`.
pub(super) fn open(path: &Path, tag: Option<&str>, arch: Arch) -> Result<Found, OciError> {
    let contents = Contents::read(path, "an OCI archive")?;
    let Some(index) = contents.find(b"index.json") else {
        let expected = "an OCI archive";
        return Err(OciError::SourceKind {
            path: path.to_owned(),
            expected,
        });
    };
    let index = Index::parse(index.name(), &index.document(Promised::default())?)?;
    pick(&contents, &index, tag, arch)
}

/// Where the files of an archive lie in it.
pub(super) struct Contents {
    file: Arc<File>,
    places: HashMap<Vec<u8>, Place>,
}

enum Place {
    File { offset: u64, len: u64 },
    Link(Vec<u8>),
}

impl Contents {
    /// Walks the headers of the archive; contents are passed over.
    pub(super) fn read(path: &Path, expected: &'static str) -> Result<Self, OciError> {
        regular_file(path, expected)?;
        let file = Arc::new(fs::open(path)?);
        let len = fs::metadata(path)?.len();
        let blob = Blob::part(path.display().to_string(), Arc::clone(&file), 0, len);
        let mut reader = TarReader::new(Buffered::new(blob.reader()));
        let mut places = HashMap::new();
        let mut entries = 0;
        loop {
            let entry = match reader.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(TarError::NoHeader { offset: 0 }) => {
                    return Err(OciError::SourceKind {
                        path: path.to_owned(),
                        expected,
                    });
                }
                Err(source) => return Err(archive_error(path, source)),
            };
            entries += 1;
            if entries > ARCHIVE_ENTRIES_MAX {
                let limit = ARCHIVE_ENTRIES_MAX as u64;
                let what = "list of entries";
                let source = TarError::TooLong {
                    offset: reader.content_offset(),
                    what,
                    limit,
                };
                return Err(archive_error(path, source));
            }
            let name = normal(&entry.path);
            let place = match entry.kind {
                EntryKind::Regular => Place::File {
                    offset: reader.content_offset(),
                    len: reader.content_stored(),
                },
                EntryKind::HardLink(target) => Place::Link(normal(&target)),
                EntryKind::Symlink(target) => Place::Link(beside(&name, &target)),
                _ => continue,
            };
            places.insert(name, place);
        }
        Ok(Self { file, places })
    }

    /// The file called `name`, through the archive's own links.
    pub(super) fn find(&self, name: &[u8]) -> Option<Blob> {
        let mut at = normal(name);
        for _ in 0..=ARCHIVE_LINKS_MAX {
            match self.places.get(&at)? {
                Place::Link(target) => at.clone_from(target),
                Place::File { offset, len } => {
                    let name = name.escape_ascii().to_string();
                    return Some(Blob::part(name, Arc::clone(&self.file), *offset, *len));
                }
            }
        }
        None
    }
}

impl BlobStore for Contents {
    fn blob(&self, digest: Digest) -> Result<Blob, OciError> {
        let name = digest.to_string();
        self.find(format!("blobs/sha256/{}", digest.hash()).as_bytes())
            .map(|blob| blob.named(name.clone()))
            .ok_or(OciError::BlobMissing { blob: name })
    }
}

fn archive_error(path: &Path, source: TarError) -> OciError {
    OciError::Archive {
        path: PathBuf::from(path),
        source: Box::new(source),
    }
}

/// Without `.`, empty and `..` parts: names here are keys, never paths of the host.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The target of a symbolic link called `name`.
fn beside(name: &[u8], target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        return normal(target);
    }
    let folder = name
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(&b""[..], |at| &name[..at]);
    normal(&[folder, b"/", target].concat())
}

/// A blob in chunks, with real skipping.
struct Buffered {
    reader: BlobReader,
    buffer: Vec<u8>,
    at: usize,
}

impl Buffered {
    /// Headers are small and far apart.
    const BUFFER_BYTES: usize = 4096;

    fn new(reader: BlobReader) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            at: 0,
        }
    }
}

impl ByteSource for Buffered {
    type Error = io::Error;

    fn chunk(&mut self) -> Result<&[u8], io::Error> {
        if self.at == self.buffer.len() {
            self.buffer.resize(Self::BUFFER_BYTES, 0);
            let read = self.reader.read(&mut self.buffer)?;
            self.buffer.truncate(read);
            self.at = 0;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn skip(&mut self, bytes: u64) -> Result<bool, io::Error> {
        let buffered = (self.buffer.len() - self.at) as u64;
        let from_buffer = bytes.min(buffered);
        self.at += usize::try_from(from_buffer).expect("at most the buffer");
        Ok(self.reader.skip(bytes - from_buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_and_never_leave_the_archive() {
        assert_eq!(normal(b"./a//b/../c"), b"a/c");
        assert_eq!(normal(b"../../etc/passwd"), b"etc/passwd");
        assert_eq!(beside(b"x/layer.tar", b"../y/layer.tar"), b"y/layer.tar");
        assert_eq!(beside(b"layer.tar", b"/y"), b"y");
    }
}
