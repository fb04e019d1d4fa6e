//! What a build may take of the host's memory, whatever the image: a million files fit into the promised
//! 128 MiB, be they in one directory, and what does not fit is refused before it is exceeded.
//!
//! The archives are made while they are read, and the disk is only counted.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test reads its own memory from /proc, and says what it left out"
)]

use std::{convert::Infallible, io};

use microagent_ext4::{
    Ext4Writer, Identity, ImageError, ImageSize, ImageSummary, ImageWriter, Sink,
};
use microagent_rootfs::{
    assemble::{Stopped, Warnings, lay_archive},
    flatten::{FlattenError, Flattening, Whiteouts},
};
use microagent_tar::{ByteSource, TarReader};

const PROMISED_BYTES: u64 = 128 << 20;
/// The layers' unpacking, measured in `cargo xtask bench image-build`; it is not a part of this test.
const UNPACKING_BYTES: u64 = 12 << 20;
const FILES: u32 = 1_000_000;

#[test]
fn a_million_files_in_one_directory_fit_into_the_promised_memory() {
    // One directory of them takes most, since its index is made at once.
    within_the_promise(|| {
        let built = build(Archive::new(FILES, |file| format!("file-{file}"))).unwrap();
        assert_eq!(built.nodes, u64::from(FILES) + 1);
    });
}

#[test]
fn ten_million_files_are_refused_within_it() {
    within_the_promise(|| {
        let refused = build(Archive::new(10 * FILES, |file| format!("{file}")));
        let full = matches!(
            refused,
            Err(Stopped::Flatten(FlattenError::IndexFull { .. }))
        );
        assert!(full, "{refused:?}");
    });
}

#[test]
fn ten_million_replacements_of_one_file_are_refused_within_it() {
    within_the_promise(|| {
        let refused = build(Archive::new(10 * FILES, |_| "the same".to_owned()));
        let pieces = matches!(
            refused,
            Err(Stopped::Image(ImageError::TooManyPieces { .. }))
        );
        assert!(pieces, "{refused:?}");
    });
}

/// Runs `work` and looks at the most memory that this process has had: each test has one of its own, as
/// the product's builds have.
fn within_the_promise(work: impl FnOnce()) {
    let Some(before) = peak_bytes() else {
        eprintln!("skipped: this host does not say how much memory a process had");
        return;
    };
    if std::env::var_os("NEXTEST").is_none() {
        eprintln!("skipped: tests share a process here: run them with cargo-nextest");
        return;
    }
    work();
    let grown = peak_bytes().unwrap() - before;
    assert!(
        grown + UNPACKING_BYTES < PROMISED_BYTES,
        "the build took {grown} bytes"
    );
}

fn build(archive: Archive) -> Result<ImageSummary, Stopped> {
    let identity = Identity {
        uuid: [7; 16],
        created: 0,
    };
    let mut writer = Ext4Writer::new(Nowhere, ImageSize::Fit, identity).unwrap();
    let mut flattening = Flattening::new(Whiteouts::Honoured);
    flattening.begin_layer();
    lay_archive(
        &mut TarReader::new(archive),
        &mut flattening,
        &mut writer,
        &mut Warnings::default(),
        &mut || {},
    )?;
    Ok(writer.finish(&flattening.finish()).unwrap())
}

/// An archive of small files, one entry after another.
struct Archive {
    name: fn(u32) -> String,
    next: u32,
    files: u32,
    entry: [u8; 1024],
    at: usize,
}

impl Archive {
    fn new(files: u32, name: fn(u32) -> String) -> Self {
        Self {
            name,
            next: 0,
            files,
            entry: [0; 1024],
            at: 1024,
        }
    }

    /// A header and one block that is not zeros.
    fn make_entry(&mut self) {
        let name = (self.name)(self.next);
        let mut put =
            |at: usize, text: &[u8]| self.entry[at..at + text.len()].copy_from_slice(text);
        put(0, &[0; 512]);
        put(0, name.as_bytes());
        put(100, b"0000644\x000000000\x000000000\x0000000000100\0");
        put(
            136,
            format!("{:011o}\0", 1_600_000_000 + self.next).as_bytes(),
        );
        put(148, b"        0");
        put(257, b"ustar\x0000");
        put(512, b"content");
        let sum: u32 = self.entry[..512].iter().map(|byte| u32::from(*byte)).sum();
        self.entry[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.next += 1;
        self.at = 0;
    }
}

impl ByteSource for Archive {
    type Error = Infallible;

    fn chunk(&mut self) -> Result<&[u8], Infallible> {
        if self.at == self.entry.len() && self.next < self.files {
            self.make_entry();
        }
        Ok(&self.entry[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

/// Takes an image and keeps nothing of it.
struct Nowhere;

impl Sink for Nowhere {
    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn clear(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// The most memory that this process has had.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
