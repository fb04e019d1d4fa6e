//! Logs as a monitor writes them, read whole, in steps, across a rotation and torn.

use super::{ConsoleLine, ConsoleMark, ConsoleReader, LINE_BYTES_MAX, MARK_BOOT, MARK_LOST};
use crate::paths::{Rotation, StateDirectory, WorkspacePaths};
use microagent_types::Timestamp;
use std::fs;
use std::io::Write as _;

struct Fixture {
    _root: tempfile::TempDir,
    paths: WorkspacePaths,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().to_str().unwrap().parse().unwrap();
        let paths = StateDirectory::at(&state).workspace(&"scout".parse().unwrap());
        fs::create_dir_all(paths.folder()).unwrap();
        Self { _root: root, paths }
    }

    fn write(&self, rotation: Rotation, log: &[u8], marks: &[(u64, u64, u32, u32)]) {
        let append = |path: &std::path::Path, bytes: &[u8]| {
            let mut file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .unwrap();
            file.write_all(bytes).unwrap();
        };
        let index: Vec<u8> = marks
            .iter()
            .flat_map(|&(position, at_ms, boot, flags)| {
                let mark = ConsoleMark {
                    position,
                    at_ms,
                    boot,
                    flags,
                };
                mark.to_bytes()
            })
            .collect();
        append(&self.paths.serial_index(rotation), &index);
        append(&self.paths.serial_log(rotation), log);
    }
}

/// Text, Unix milliseconds and boot.
type Seen = Vec<(String, u64, u32)>;

fn seen(line: ConsoleLine<'_>) -> (String, u64, u32) {
    let text = String::from_utf8_lossy(line.text()).into_owned();
    (text, line.time.map_or(0, Timestamp::unix_ms), line.boot)
}

fn read(reader: &mut ConsoleReader<'_>) -> Seen {
    let mut lines = Vec::new();
    let mut take = |line: ConsoleLine<'_>| {
        lines.push(seen(line));
        true
    };
    reader.read(&mut take).unwrap();
    lines
}

fn line(text: &str, at_ms: u64, boot: u32) -> (String, u64, u32) {
    (text.to_owned(), at_ms, boot)
}

#[test]
fn lines_have_the_time_and_boot_of_their_first_byte() {
    let fixture = Fixture::new();
    fixture.write(
        Rotation::Current,
        b"one\r\ntwo\nhal",
        &[(0, 1000, 1, MARK_BOOT), (7, 1200, 1, 0)],
    );
    let mut reader = ConsoleReader::new(&fixture.paths);
    assert_eq!(
        read(&mut reader),
        [line("one", 1000, 1), line("two", 1000, 1)]
    );
    // A boot begins a line of its own, whatever was left open.
    fixture.write(Rotation::Current, b"new\n", &[(12, 5000, 2, MARK_BOOT)]);
    assert_eq!(
        read(&mut reader),
        [line("hal", 1200, 1), line("new", 5000, 2)]
    );
    assert_eq!(read(&mut reader), []);
    assert!(!reader.was_cut());
}

#[test]
fn a_reader_goes_on_across_a_rotation_and_loses_nothing() {
    let fixture = Fixture::new();
    fixture.write(Rotation::Current, b"one\nt", &[(0, 1000, 1, MARK_BOOT)]);
    let mut reader = ConsoleReader::new(&fixture.paths);
    assert_eq!(read(&mut reader), [line("one", 1000, 1)]);
    fixture.write(Rotation::Current, b"wo\n", &[]);
    for path in [
        fixture.paths.serial_log(Rotation::Current),
        fixture.paths.serial_index(Rotation::Current),
    ] {
        let mut rotated = path.clone().into_os_string();
        rotated.push(".1");
        fs::rename(path, rotated).unwrap();
    }
    fixture.write(Rotation::Current, b"three\n", &[(0, 2000, 1, 0)]);
    assert_eq!(
        read(&mut reader),
        [line("two", 1000, 1), line("three", 2000, 1)]
    );
    assert!(!reader.was_cut());
    let mut later = ConsoleReader::new(&fixture.paths);
    assert_eq!(read(&mut later).len(), 3);
}

#[test]
fn a_log_without_its_beginning_or_with_a_gap_was_cut() {
    let fixture = Fixture::new();
    fixture.write(Rotation::Previous, b"x\n", &[(0, 1000, 1, 0)]);
    let mut reader = ConsoleReader::new(&fixture.paths);
    read(&mut reader);
    assert!(reader.was_cut());
    let fixture = Fixture::new();
    let marks = [(0, 1000, 1, MARK_BOOT), (2, 1500, 1, MARK_LOST)];
    fixture.write(Rotation::Current, b"x\ny\n", &marks);
    let mut reader = ConsoleReader::new(&fixture.paths);
    read(&mut reader);
    assert!(reader.was_cut());
}

#[test]
fn nothing_there_is_no_line_and_a_torn_or_absent_index_is_no_error() {
    let fixture = Fixture::new();
    assert_eq!(read(&mut ConsoleReader::new(&fixture.paths)), []);
    fixture.write(Rotation::Current, b"x\n", &[]);
    fs::write(fixture.paths.serial_index(Rotation::Current), [1, 2, 3]).unwrap();
    assert_eq!(
        read(&mut ConsoleReader::new(&fixture.paths)),
        [line("x", 0, 0)]
    );
}

#[test]
fn a_line_without_end_comes_in_pieces_and_the_last_piece_when_asked_for() {
    let fixture = Fixture::new();
    let log = vec![b'x'; LINE_BYTES_MAX + 5];
    fixture.write(Rotation::Current, &log, &[(0, 1, 1, MARK_BOOT)]);
    let mut reader = ConsoleReader::new(&fixture.paths);
    let lines = read(&mut reader);
    assert_eq!((lines.len(), lines[0].0.len()), (1, LINE_BYTES_MAX));
    let mut rest = Vec::new();
    let mut take = |line: ConsoleLine<'_>| {
        rest.push(seen(line));
        true
    };
    reader.finish(&mut take);
    reader.finish(&mut take);
    assert_eq!(rest, [line("xxxxx", 1, 1)]);
}

#[test]
fn whoever_has_enough_gets_no_more() {
    let fixture = Fixture::new();
    fixture.write(Rotation::Current, b"a\nb\nc\n", &[(0, 1, 1, MARK_BOOT)]);
    let mut count = 0;
    let mut reader = ConsoleReader::new(&fixture.paths);
    reader
        .read(&mut |_| {
            count += 1;
            count < 2
        })
        .unwrap();
    assert_eq!(count, 2);
}
