//! Writes entries one after another: POSIX headers, and an extended header in front of those that do
//! not fit into one.
//!
//! What every tar of today reads back: owners as numbers, times with nanoseconds, attributes as
//! `SCHILY.xattr.*`, holes in the newest GNU form, names as the bytes that they are. The writer
//! counts: an entry that gets more or less content than it announced is an error, never an archive
//! that nobody can read.

use std::io::{self, Write};

use crate::entry::{Entry, EntryKind, Piece};
use crate::header::BLOCK_BYTES;
use crate::reader::padded;

/// Length of a name in a plain header.
const NAME_BYTES: usize = 100;
/// Largest number in the seven octal digits of an owner.
const OWNER_MAX: u32 = 0o777_7777;
/// Largest number in the eleven octal digits of sizes and times.
const LONG_MAX: u64 = 0o777_7777_7777;

/// Writes an archive.
#[derive(Debug)]
pub struct TarWriter<W> {
    sink: W,
    /// Content of the entry that was begun last, still to be given.
    left: u64,
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `sink` from where it stands. Many small writes: give it a buffer.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            left: 0,
            padding: 0,
        }
    }

    /// The sink, wherever it stands.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Begins an entry. The content of a regular file follows by [`TarWriter::content`]: all of it,
    /// or with `pieces` only those, which must be in order and lie within the file.
    ///
    /// # Errors
    /// When the entry before lacks content, and whatever the sink gives.
    pub fn entry(&mut self, entry: &Entry, pieces: Option<&[Piece]>) -> io::Result<()> {
        self.end_entry()?;
        let map = pieces.map(|pieces| sparse_map(pieces, entry.size));
        let content: u64 = match (&entry.kind, pieces) {
            (EntryKind::Regular, None) => entry.size,
            (EntryKind::Regular, Some(pieces)) => pieces.iter().map(|piece| piece.len).sum(),
            _ => 0,
        };
        let stored = content + map.as_ref().map_or(0, |map| map.len() as u64);
        let records = records(entry, stored, map.is_some());
        if !records.is_empty() {
            let size = records.len() as u64;
            self.block(&header(b"pax", b'x', size, &Plain::default()))?;
            self.sink.write_all(&records)?;
            self.pad(records.len())?;
        }
        let (kind, link) = type_and_link(&entry.kind);
        let (major, minor) = match entry.kind {
            EntryKind::CharacterDevice { major, minor }
            | EntryKind::BlockDevice { major, minor } => (major, minor),
            _ => (0, 0),
        };
        let plain = Plain {
            mode: entry.mode,
            uid: entry.uid.min(OWNER_MAX),
            gid: entry.gid.min(OWNER_MAX),
            seconds: u64::try_from(entry.seconds).unwrap_or(0).min(LONG_MAX),
            link,
            major,
            minor,
        };
        self.block(&header(&entry.path, kind, stored.min(LONG_MAX), &plain))?;
        if let Some(map) = map {
            self.sink.write_all(&map)?;
        }
        self.left = content;
        self.padding = usize::try_from(padded(stored) - stored).expect("less than a block");
        Ok(())
    }

    /// Content of the entry that was begun last.
    ///
    /// # Errors
    /// When it is more than was announced, and whatever the sink gives.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "more content than announced")
        })?;
        self.sink.write_all(bytes)
    }

    /// Ends the archive and gives the sink back.
    ///
    /// # Errors
    /// When the last entry lacks content, and whatever the sink gives.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        Ok(self.sink)
    }

    /// Ends the archive; no entry may follow.
    ///
    /// # Errors
    /// When the last entry lacks content, and whatever the sink gives.
    pub fn end(&mut self) -> io::Result<()> {
        self.end_entry()?;
        self.sink.write_all(&[0; 2 * BLOCK_BYTES])
    }

    /// The sink, wherever it stands.
    pub fn into_sink(self) -> W {
        self.sink
    }

    fn end_entry(&mut self) -> io::Result<()> {
        if self.left > 0 {
            let message = "less content than announced";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let padding = std::mem::take(&mut self.padding);
        self.sink.write_all(&[0; BLOCK_BYTES][..padding])
    }

    fn block(&mut self, block: &[u8; BLOCK_BYTES]) -> io::Result<()> {
        self.sink.write_all(block)
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        let rest = written.next_multiple_of(BLOCK_BYTES) - written;
        self.sink.write_all(&[0; BLOCK_BYTES][..rest])
    }
}

/// Fields of a header beside its name, type and size.
#[derive(Debug, Default)]
struct Plain<'a> {
    mode: u16,
    uid: u32,
    gid: u32,
    seconds: u64,
    link: &'a [u8],
    major: u32,
    minor: u32,
}

fn type_and_link(kind: &EntryKind) -> (u8, &[u8]) {
    match kind {
        EntryKind::Regular => (b'0', b""),
        EntryKind::HardLink(link) => (b'1', link),
        EntryKind::Symlink(link) => (b'2', link),
        EntryKind::CharacterDevice { .. } => (b'3', b""),
        EntryKind::BlockDevice { .. } => (b'4', b""),
        EntryKind::Directory => (b'5', b""),
        EntryKind::Fifo => (b'6', b""),
    }
}

/// A header; names that are too long are cut, since an extended header has them whole.
fn header(name: &[u8], kind: u8, size: u64, plain: &Plain<'_>) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    put(&mut block, 0, &name[..name.len().min(NAME_BYTES)]);
    put(&mut block, 100, format!("{:07o}", plain.mode).as_bytes());
    put(&mut block, 108, format!("{:07o}", plain.uid).as_bytes());
    put(&mut block, 116, format!("{:07o}", plain.gid).as_bytes());
    put(&mut block, 124, format!("{size:011o}").as_bytes());
    put(
        &mut block,
        136,
        format!("{:011o}", plain.seconds).as_bytes(),
    );
    block[156] = kind;
    put(
        &mut block,
        157,
        &plain.link[..plain.link.len().min(NAME_BYTES)],
    );
    put(&mut block, 257, b"ustar\x0000");
    put(&mut block, 329, format!("{:07o}", plain.major).as_bytes());
    put(&mut block, 337, format!("{:07o}", plain.minor).as_bytes());
    put(&mut block, 148, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK_BYTES], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The extended header: only what the plain one can't say.
fn records(entry: &Entry, stored: u64, is_sparse: bool) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > NAME_BYTES {
        record(&mut records, b"path", &entry.path);
    }
    let (_, link) = type_and_link(&entry.kind);
    if link.len() > NAME_BYTES {
        record(&mut records, b"linkpath", link);
    }
    if stored > LONG_MAX {
        record(&mut records, b"size", stored.to_string().as_bytes());
    }
    for (key, id) in [(b"uid", entry.uid), (b"gid", entry.gid)] {
        if id > OWNER_MAX {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    let fits = u64::try_from(entry.seconds).is_ok_and(|seconds| seconds <= LONG_MAX);
    if !fits || entry.nanoseconds > 0 {
        record(&mut records, b"mtime", time(entry).as_bytes());
    }
    if is_sparse {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", &entry.path);
        let size = entry.size.to_string();
        record(&mut records, b"GNU.sparse.realsize", size.as_bytes());
    }
    for (name, value) in &entry.attributes {
        let key = [b"SCHILY.xattr.".as_slice(), name].concat();
        record(&mut records, &key, value);
    }
    records
}

/// Seconds with a fraction; nanoseconds count upwards, before 1970 too.
fn time(entry: &Entry) -> String {
    if entry.seconds >= 0 || entry.nanoseconds == 0 {
        return format!("{}.{:09}", entry.seconds, entry.nanoseconds);
    }
    let seconds = entry.seconds + 1;
    format!("-{}.{:09}", -seconds, 1_000_000_000 - entry.nanoseconds)
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The map in front of a sparse file's content: decimal lines, padded to a block.
fn sparse_map(pieces: &[Piece], size: u64) -> Vec<u8> {
    let end = pieces.last().map_or(0, |piece| piece.offset + piece.len);
    // GNU tar learns of a hole at the end only from an empty piece behind it.
    let last = (end < size).then_some(Piece {
        offset: size,
        len: 0,
    });
    let count = pieces.len() + usize::from(last.is_some());
    let mut map = format!("{count}\n").into_bytes();
    for piece in pieces.iter().chain(&last) {
        map.extend_from_slice(format!("{}\n{}\n", piece.offset, piece.len).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the judge is another program")]

    use super::TarWriter;
    use crate::{Content, Entry, EntryKind, Piece, TarReader};
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn file(path: &[u8], size: u64) -> Entry {
        Entry {
            path: path.to_vec(),
            kind: EntryKind::Regular,
            mode: 0o640,
            uid: 3_000_000,
            gid: 12,
            seconds: 981_173_106,
            nanoseconds: 789_000_001,
            size,
            attributes: Vec::new(),
        }
    }

    fn read_back(archive: &[u8]) -> Vec<(Entry, Vec<u8>)> {
        let mut reader = TarReader::new(archive);
        let mut all = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut content = Vec::new();
            reader
                .content(|piece| {
                    match piece {
                        Content::Bytes(bytes) => content.extend_from_slice(bytes),
                        Content::Hole(bytes) => {
                            content.resize(content.len() + usize::try_from(bytes).unwrap(), 0);
                        }
                    }
                    Ok::<(), std::convert::Infallible>(())
                })
                .unwrap()
                .unwrap();
            all.push((entry, content));
        }
        all
    }

    #[test]
    fn gnu_tar_reads_long_names_holes_owners_and_times() {
        let long = [b"d/".as_slice(), &[b'n'; 250]].concat();
        let mut sparse = file(b"sparse", 1_000_000);
        sparse.attributes = vec![(b"user.odd".to_vec(), b"a\n9 x=y\n\0".to_vec())];
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&file(&long, 3), None).unwrap();
        writer.content(b"abc").unwrap();
        let pieces = [Piece {
            offset: 400_000,
            len: 6,
        }];
        writer.entry(&sparse, Some(&pieces)).unwrap();
        writer.content(b"middle").unwrap();
        let archive = writer.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar")
            .args([
                "-x",
                "--xattrs",
                "--xattrs-include=user.*",
                "--numeric-owner",
            ])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&archive).unwrap();
        assert!(tar.wait().unwrap().success());
        let name = std::str::from_utf8(&long).unwrap();
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"abc");
        let content = std::fs::read(folder.path().join("sparse")).unwrap();
        assert_eq!(
            (content.len(), &content[400_000..400_006]),
            (1_000_000, &b"middle"[..])
        );
        let modified = std::fs::metadata(folder.path().join("sparse"))
            .unwrap()
            .modified()
            .unwrap();
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(
            (since.as_secs(), since.subsec_nanos()),
            (981_173_106, 789_000_001)
        );
        assert_eq!(read_back(&archive)[1].0, sparse);
    }

    #[test]
    fn too_much_and_too_little_content_are_errors() {
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&file(b"a", 3), None).unwrap();
        writer.content(b"ab").unwrap();
        assert!(writer.content(b"cd").is_err());
        assert!(writer.finish().is_err());
    }

    fn any_kind() -> impl Strategy<Value = EntryKind> {
        let path = || prop::collection::vec(1u8..=255, 1..300);
        prop_oneof![
            Just(EntryKind::Regular),
            Just(EntryKind::Directory),
            Just(EntryKind::Fifo),
            path().prop_map(EntryKind::HardLink),
            path().prop_map(EntryKind::Symlink),
            (0u32..4096, 0u32..2_000_000)
                .prop_map(|(major, minor)| EntryKind::CharacterDevice { major, minor }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            path in prop::collection::vec(1u8..=255, 1..300),
            kind in any_kind(),
            mode in 0u16..0o1_0000,
            ids in any::<(u32, u32)>(),
            seconds in -10_000_000_000i64..1_000_000_000_000,
            nanoseconds in 0u32..1_000_000_000,
            content in prop::collection::vec(any::<u8>(), 0..2000),
            attributes in prop::collection::btree_map("user\\.[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..50), 0..4),
        ) {
            let is_file = kind == EntryKind::Regular;
            prop_assume!(!is_file || !path.ends_with(b"/"));
            let size = if is_file { content.len() as u64 } else { 0 };
            let attributes = attributes.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            let entry = Entry { path, kind, mode, uid: ids.0, gid: ids.1, seconds, nanoseconds, size, attributes };
            let mut writer = TarWriter::new(Vec::new());
            writer.entry(&entry, None).unwrap();
            if is_file {
                writer.content(&content).unwrap();
            }
            let archive = writer.finish().unwrap();
            prop_assert_eq!(archive.len() % 512, 0);
            let all = read_back(&archive);
            prop_assert_eq!(all.len(), 1);
            prop_assert_eq!(&all[0].0, &entry);
            prop_assert_eq!(&all[0].1[..], if is_file { &content[..] } else { b"" });
        }
    }
}
