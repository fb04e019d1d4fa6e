//! Trees there and back, and archives of nobody.
#![allow(
    clippy::disallowed_methods,
    reason = "a test makes its files as anybody would"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use microagent_tar::{Entry, EntryKind, TarReader, TarWriter};
use proptest::prelude::*;

use crate::folder::Folder;
use crate::pack::{Links, Mounts, PackOptions, PackOwner, Packer, entry_errno};
use crate::report::{Counts, Notes};
use crate::unpack::{
    AttributeChoice, Powers, UnpackError, UnpackOptions, UnpackOwner, Unpacked, unpack,
};

const PACK: PackOptions = PackOptions {
    owner: PackOwner::Kept,
    links: Links::Kept,
    mounts: Mounts::All,
};

const UNPACK: UnpackOptions<'_> = UnpackOptions {
    owner: UnpackOwner::Caller,
    powers: Powers::Dropped,
    attributes: AttributeChoice::User,
    bytes_max: 1 << 30,
    single: None,
    root_attributes: true,
};

fn pack(folder: &Path, options: PackOptions) -> (Vec<u8>, Counts, Notes) {
    let mut packer = Packer::new(Vec::new(), options);
    packer
        .tree(&Folder::open(folder).unwrap(), b".", b"")
        .unwrap();
    packer.finish().unwrap()
}

fn put(
    archive: &[u8],
    folder: &Path,
    options: UnpackOptions<'_>,
) -> (Unpacked, Result<(), UnpackError>) {
    let mut done = Unpacked::default();
    let result = unpack(
        &mut TarReader::new(archive),
        &Folder::open(folder).unwrap(),
        options,
        &mut done,
        &mut |_| true,
    );
    (done, result)
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o6755,
        uid: 0,
        gid: 0,
        seconds: 1_000_000_000,
        nanoseconds: 5,
        size: 0,
        attributes: Vec::new(),
    }
}

fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        let mut entry = entry.clone();
        entry.size = content.len() as u64;
        writer.entry(&entry, None).unwrap();
        writer.content(content).unwrap();
    }
    writer.finish().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_tree_of_every_kind_comes_back_the_same() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = from.path();
    fs::create_dir_all(root.join("a b/new\nline/-dash")).unwrap();
    fs::write(root.join("a b/new\nline/-dash/file"), "content").unwrap();
    let odd = std::ffi::OsStr::new("odd");
    fs::write(root.join(odd), vec![7u8; 200_000]).unwrap();
    fs::hard_link(root.join("odd"), root.join("zz-second-name")).unwrap();
    symlink("../nowhere", root.join("link")).unwrap();
    let name =
        <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"n\xff\xfe".to_vec());
    fs::write(root.join(&name), "bytes").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 20 << 20).unwrap();
    fs::set_permissions(root.join("odd"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(root.join("a b"), fs::Permissions::from_mode(0o500)).unwrap();
    let (bytes, packed, skipped) = pack(root, PACK);
    assert!(skipped.is_empty(), "{skipped:?}");
    assert!(bytes.len() < 1 << 20, "holes are not sent");
    let (done, result) = put(&bytes, to.path(), UNPACK);
    result.unwrap();
    assert!(
        done.skipped.is_empty() && done.refused.is_empty(),
        "{done:?}"
    );
    assert_eq!(done.counts.entries(), packed.entries());
    assert_eq!(
        (packed.files, packed.directories, packed.symlinks),
        (5, 4, 1)
    );
    let root = to.path();
    assert_eq!(text(&root.join("a b/new\nline/-dash/file")), "content");
    assert_eq!(text(&root.join(&name)), "bytes");
    assert_eq!(
        fs::read_link(root.join("link")).unwrap(),
        Path::new("../nowhere")
    );
    let of = |name: &str| fs::metadata(root.join(name)).unwrap();
    assert_eq!(of("odd").ino(), of("zz-second-name").ino());
    assert_eq!(of("odd").mode() & 0o7777, 0o640);
    assert_eq!(of("a b").mode() & 0o7777, 0o500);
    let before = |name: &str| fs::metadata(from.path().join(name)).unwrap();
    for name in ["odd", "a b", "sparse", "a b/new\nline"] {
        assert_eq!(
            of(name).modified().unwrap(),
            before(name).modified().unwrap(),
            "{name}"
        );
    }
    assert_eq!(of("sparse").len(), 50 << 20);
    assert!(of("sparse").blocks() * 512 < 1 << 20, "holes stay holes");
    let mut middle = [0; 6];
    let copy = fs::File::open(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut middle, 20 << 20).unwrap();
    assert_eq!(&middle, b"middle");
    // Another copy over it changes nothing but what changed.
    fs::write(from.path().join("odd"), "new").unwrap();
    put(&pack(from.path(), PACK).0, root, UNPACK).1.unwrap();
    assert_eq!(text(&root.join("zz-second-name")), "new");
}

#[test]
fn nothing_lands_outside_the_folder_whatever_the_archive_says() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(outside.path().join("secret"), "mine").unwrap();
    symlink(outside.path(), target.join("own-link")).unwrap();
    let bytes = archive(&[
        (entry("../escaped", EntryKind::Regular), b"x"),
        (entry("a/../../escaped", EntryKind::Regular), b"x"),
        (entry("/escaped", EntryKind::Regular), b"x"),
        (entry("out", EntryKind::Symlink(b"..".to_vec())), b""),
        (entry("out/escaped", EntryKind::Regular), b"x"),
        (entry("out/dir/", EntryKind::Directory), b""),
        (entry("own-link/escaped", EntryKind::Regular), b"x"),
        (entry("own-link/", EntryKind::Directory), b""),
        (
            entry("stolen", EntryKind::HardLink(b"../secret".to_vec())),
            b"",
        ),
        (
            entry("stolen2", EntryKind::HardLink(b"out/secret".to_vec())),
            b"",
        ),
        (entry("..", EntryKind::Directory), b""),
        (entry("", EntryKind::Regular), b"x"),
        (entry("good", EntryKind::Regular), b"good"),
        // A link that is there already is replaced, not written through.
        (entry("out", EntryKind::Regular), b"file"),
    ]);
    let (done, result) = put(&bytes, &target, UNPACK);
    result.unwrap();
    assert_eq!(done.refused.total, 11, "{done:?}");
    assert_eq!(text(&target.join("good")), "good");
    assert_eq!(text(&target.join("out")), "file");
    let mut names: Vec<_> = fs::read_dir(outside.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["secret", "target"]);
    assert_eq!(text(&outside.path().join("secret")), "mine");
    assert!(!target.join("stolen").exists());
}

#[test]
fn what_has_power_is_dropped_or_kept_as_asked() {
    let target = tempfile::tempdir().unwrap();
    let bytes = archive(&[
        (entry("setuid", EntryKind::Regular), b"x"),
        (entry("pipe", EntryKind::Fifo), b""),
        (
            entry("null", EntryKind::CharacterDevice { major: 1, minor: 3 }),
            b"",
        ),
    ]);
    let (done, result) = put(&bytes, target.path(), UNPACK);
    result.unwrap();
    assert_eq!(done.skipped.total, 2);
    assert_eq!(
        fs::metadata(target.path().join("setuid")).unwrap().mode() & 0o7777,
        0o755
    );
    let kept = UnpackOptions {
        powers: Powers::Made,
        ..UNPACK
    };
    put(&bytes, target.path(), kept).1.unwrap();
    assert_eq!(
        fs::metadata(target.path().join("setuid")).unwrap().mode() & 0o7777,
        0o6755
    );
    let pipe = fs::metadata(target.path().join("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
}

#[test]
fn one_file_is_one_file_under_the_name_that_was_asked_for() {
    let target = tempfile::tempdir().unwrap();
    let single = UnpackOptions {
        single: Some(b"mine"),
        ..UNPACK
    };
    let bytes = archive(&[
        (entry("../../theirs", EntryKind::Regular), b"one"),
        (entry("second", EntryKind::Regular), b"two"),
    ]);
    let (done, result) = put(&bytes, target.path(), single);
    result.unwrap();
    assert_eq!((done.counts.files, done.refused.total), (1, 1));
    assert_eq!(text(&target.path().join("mine")), "one");
    assert!(!target.path().join("second").exists());
}

#[test]
fn a_bound_stops_the_copy_and_leaves_no_half_file() {
    let target = tempfile::tempdir().unwrap();
    let bytes = archive(&[
        (entry("first", EntryKind::Regular), &[1; 1000]),
        (entry("second", EntryKind::Regular), &[2; 1000]),
    ]);
    let tight = UnpackOptions {
        bytes_max: 1999,
        ..UNPACK
    };
    let (done, result) = put(&bytes, target.path(), tight);
    assert!(matches!(result, Err(UnpackError::TooMuch { limit: 1999 })));
    assert_eq!(done.counts.files, 1);
    let names: Vec<_> = fs::read_dir(target.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["first"]);
    let loose = UnpackOptions {
        bytes_max: 2000,
        ..UNPACK
    };
    assert_eq!(put(&bytes, target.path(), loose).0.counts.files, 2);
}

#[test]
fn a_name_that_is_a_folder_stays_one_and_is_told() {
    let target = tempfile::tempdir().unwrap();
    fs::create_dir_all(target.path().join("taken/full")).unwrap();
    let bytes = archive(&[
        (entry("taken", EntryKind::Regular), b"x"),
        (entry("after", EntryKind::Regular), b"y"),
    ]);
    let (done, result) = put(&bytes, target.path(), UNPACK);
    result.unwrap();
    assert_eq!(done.skipped.total, 1, "{done:?}");
    assert!(target.path().join("taken/full").is_dir());
    assert_eq!(text(&target.path().join("after")), "y");
}

#[test]
fn followed_links_become_what_they_lead_to_and_a_loop_ends() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(from.path().join("folder")).unwrap();
    fs::write(from.path().join("file"), "content").unwrap();
    symlink("../file", from.path().join("folder/link")).unwrap();
    symlink("..", from.path().join("folder/up")).unwrap();
    symlink("nowhere", from.path().join("dangling")).unwrap();
    let followed = PackOptions {
        links: Links::Followed,
        ..PACK
    };
    let (bytes, _, skipped) = pack(from.path(), followed);
    assert_eq!(skipped.total, 1, "{skipped:?}");
    put(&bytes, to.path(), UNPACK).1.unwrap();
    let link = to.path().join("folder/link");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    assert_eq!(text(&link), "content");
    assert!(
        to.path()
            .join("dangling")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn what_is_not_there_is_told_from_a_sink_that_breaks() {
    struct Broken;
    impl std::io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let open = Folder::open(folder.path()).unwrap();
    let absent = Packer::new(Vec::new(), PACK).tree(&open, b"absent", b"absent");
    assert_eq!(entry_errno(&absent.unwrap_err()), Some(2));
    let broken = Packer::new(Broken, PACK).tree(&open, b".", b"");
    assert_eq!(entry_errno(&broken.unwrap_err()), None);
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec("(\\.\\.|\\.|a|b|link|out|)", 0..5).prop_map(|parts| parts.join("/"))
}

fn any_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let kind = prop_oneof![
        Just(EntryKind::Regular),
        Just(EntryKind::Directory),
        any_path().prop_map(|target| EntryKind::Symlink(format!("{target}x").into_bytes())),
        Just(EntryKind::Symlink(b"..".to_vec())),
        Just(EntryKind::Symlink(b"/tmp".to_vec())),
        any_path().prop_map(|target| EntryKind::HardLink(target.into_bytes())),
    ];
    (any_path(), kind).prop_map(|(path, kind)| {
        let content = if kind == EntryKind::Regular {
            b"x".to_vec()
        } else {
            Vec::new()
        };
        (entry(&path, kind), content)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever an archive holds, in whatever order: the folder around the target is as before.
    #[test]
    fn no_archive_changes_anything_around_its_target(entries in prop::collection::vec(any_entry(), 1..12)) {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        fs::create_dir(&target).unwrap();
        fs::write(outside.path().join("a"), "mine").unwrap();
        let entries: Vec<(Entry, &[u8])> = entries.iter().map(|(entry, content)| (entry.clone(), &content[..])).collect();
        let _ = put(&archive(&entries), &target, UNPACK);
        let mut names: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        prop_assert_eq!(names, ["a", "target"]);
        prop_assert_eq!(text(&outside.path().join("a")), "mine");
        prop_assert_eq!(fs::metadata(outside.path().join("a")).unwrap().nlink(), 1);
    }
}
