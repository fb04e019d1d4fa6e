//! The first mount of an image has nothing to settle: what the kernel would write into the superblocks is
//! there. Each write at a first mount is paid by every first boot of a guest.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts its judges, reads their files itself, and may fail anywhere"
)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use microagent_ext4::{
    Ext4Writer, Identity, ImageSize, ImageWriter as _, Metadata, Sink, Timestamp, Tree,
};

struct FileSink(File);

impl Sink for FileSink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn clear(&mut self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("an empty image drops no content")
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

fn make(path: &Path, size: ImageSize) {
    let identity = Identity {
        uuid: *b"an image of ours",
        created: 1_700_000_000,
    };
    let root = Metadata {
        mode: 0o755,
        uid: 0,
        gid: 0,
        modified: Timestamp {
            seconds: 1_600_000_000,
            nanoseconds: 0,
        },
        attributes: Vec::new(),
    };
    let file = File::create_new(path).unwrap();
    let writer = Ext4Writer::new(FileSink(file), size, identity).unwrap();
    writer.finish(&Tree::new(root)).unwrap();
}

/// What `dumpe2fs` says of the superblock and the journal.
fn said(image: &Path, field: &str) -> String {
    let output = Command::new("dumpe2fs").arg("-h").arg(image).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_else(|| panic!("no `{field}` in\n{text}"))
        .trim()
        .to_owned()
}

/// The copy of the superblock in group 1, which a mount leaves alone unless it settles something.
fn copy(image: &Path) -> Vec<u8> {
    const GROUP_BYTES: u64 = 32_768 * 4096;
    let mut bytes = vec![0; 1024];
    let file = File::open(image).unwrap();
    file.read_exact_at(&mut bytes, GROUP_BYTES).unwrap();
    bytes
}

#[test]
fn a_first_mount_finds_nothing_to_settle() {
    let folder = tempfile::tempdir().unwrap();
    let mount_point = folder.path().join("mounted");
    std::fs::create_dir(&mount_point).unwrap();
    for (name, size) in [
        ("small", ImageSize::Exact(200 << 20)),
        ("standard", ImageSize::AtLeast(8 << 30)),
        ("large", ImageSize::Exact(300 << 30)),
    ] {
        let image = folder.path().join(name);
        make(&image, size);
        assert_eq!(
            said(&image, "Journal features:"),
            "journal_64bit journal_checksum_v3",
            "{name}"
        );
        let overhead = said(&image, "Overhead clusters:");
        let before = copy(&image);
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mount_point])
            .output()
            .unwrap();
        if !mounted.status.success() {
            eprintln!("skipped: this process may not mount a disk");
            return;
        }
        let unmounted = Command::new("umount").arg(&mount_point).status().unwrap();
        assert!(unmounted.success());
        assert_eq!(said(&image, "Overhead clusters:"), overhead, "{name}");
        assert!(copy(&image) == before, "{name}: a copy was written anew");
    }
}
