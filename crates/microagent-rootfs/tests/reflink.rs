//! Clones on file systems that share blocks: as large as the original, in no space of their own, and
//! apart from it as soon as one side writes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test makes its files itself, and says what it left out"
)]

use std::{
    fs::OpenOptions,
    os::unix::fs::{FileExt, MetadataExt},
};

use microagent_rootfs::{
    BuildOptions, CancelToken, CloneMethod, ImageStore, Limits, Sharing, Silent, clone_disk,
};
use microagent_test::{
    fsck,
    image::{Image, Layer},
    shared_blocks::{Kind, SharedBlocks},
};
use microagent_types::{Arch, ImageSource};

const FILE_SYSTEM_BYTES: u64 = 2 << 30;
const CONTENT_BYTES: usize = 48 << 20;
const DISK_BYTES: u64 = 8 << 30;
/// What the file system itself may need for one more file.
const BOOKKEEPING_BYTES: u64 = 4 << 20;

#[test]
fn where_blocks_can_be_shared_a_clone_takes_no_space_and_is_apart() {
    for kind in Kind::ALL {
        match SharedBlocks::mount(kind, FILE_SYSTEM_BYTES) {
            Ok(mounted) => clone_is_shared_and_apart(&mounted),
            Err(reason) => eprintln!("skipped: {reason}"),
        }
    }
}

fn clone_is_shared_and_apart(mounted: &SharedBlocks) {
    let layout = tempfile::tempdir().unwrap();
    let layer = Layer::new().file("large", 0o644, &vec![7; CONTENT_BYTES]);
    Image::new()
        .layer(layer)
        .write_layout(&layout.path().join("layout"))
        .unwrap();
    let source: ImageSource = format!("oci:{}/layout", layout.path().display())
        .parse()
        .unwrap();
    let options = BuildOptions {
        arch: Arch::current().unwrap(),
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    };
    let store = ImageStore::open(&mounted.path().join("images")).unwrap();
    let image = store.ensure(&source, &options, &mut Silent).unwrap();
    assert!(std::fs::metadata(&image.disk).unwrap().blocks() * 512 > CONTENT_BYTES as u64);

    let clone = mounted.path().join("clone");
    let before = mounted.used_bytes().unwrap();
    let method = clone_disk(&image.disk, &clone, DISK_BYTES, Sharing::Preferred).unwrap();
    assert_eq!(method, CloneMethod::Reflink);
    let grown = mounted.used_bytes().unwrap().saturating_sub(before);
    assert!(grown < BOOKKEEPING_BYTES, "the clone took {grown} bytes");
    assert_eq!(std::fs::metadata(&clone).unwrap().len(), DISK_BYTES);
    fsck::clean(&clone).unwrap();

    // A write to the clone is no write to the image.
    let open = |path| OpenOptions::new().read(true).write(true).open(path);
    let (ours, theirs) = (open(&clone).unwrap(), open(&image.disk).unwrap());
    let mut block = [0; 4096];
    theirs.read_exact_at(&mut block, 4096).unwrap();
    ours.write_all_at(&[0xa5; 4096], 4096).unwrap();
    let mut after = [0; 4096];
    theirs.read_exact_at(&mut after, 4096).unwrap();
    assert_eq!(block, after);
    fsck::clean(&image.disk).unwrap();
}
