//! Every image here is judged by `e2fsck`, and read back by `debugfs`; the kernel judges where
//! this process may mount.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts its judges, reads their files itself, and may fail anywhere"
)]

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use microagent_ext4::{
    Attribute, DeviceNumber, Ext4Writer, Identity, ImageError, ImageSize, ImageSummary,
    ImageWriter, Metadata, Node, NodeId, NodeKind, Sink, Timestamp, Tree,
};
use proptest::prelude::*;

struct FileSink(File);

impl Sink for FileSink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 16];
        let mut done = 0;
        while done < len {
            let now = (len - done).min(1 << 16);
            self.0
                .write_all_at(&zeros[..usize::try_from(now).unwrap()], offset + done)?;
            done += now;
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

const IDENTITY: Identity = Identity {
    uuid: *b"an image of ours",
    created: 1_700_000_000,
};

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn make(
    size: ImageSize,
    build: impl FnOnce(&mut Ext4Writer<FileSink>) -> Tree,
) -> (Bench, Result<ImageSummary, ImageError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.ext4");
    let file = File::create_new(&path).unwrap();
    let mut writer = Ext4Writer::new(FileSink(file), size, IDENTITY).unwrap();
    let tree = build(&mut writer);
    let summary = writer.finish(&tree);
    (
        Bench {
            _folder: folder,
            path,
        },
        summary,
    )
}

fn judged(
    size: ImageSize,
    build: impl FnOnce(&mut Ext4Writer<FileSink>) -> Tree,
) -> (Bench, ImageSummary) {
    let (bench, summary) = make(size, build);
    let summary = summary.unwrap();
    fsck(&bench.path);
    assert_eq!(
        std::fs::metadata(&bench.path).unwrap().len(),
        summary.size_bytes
    );
    (bench, summary)
}

fn fsck(image: &Path) {
    let verdict = Command::new("e2fsck")
        .arg("-fn")
        .arg(image)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&verdict.stdout);
    assert!(
        verdict.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&verdict.stderr)
    );
    for word in ["Fix", "WARNING", "rror", "IGNORED", "Optimize"] {
        assert!(!text.contains(word), "{text}");
    }
}

fn debugfs(image: &Path, request: &str) -> String {
    let answer = Command::new("debugfs")
        .args(["-R", request])
        .arg(image)
        .output()
        .unwrap();
    assert!(answer.status.success());
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        uid: 70_000,
        gid: 80_000,
        modified: Timestamp {
            seconds: 1_600_000_000,
            nanoseconds: 123_456_789,
        },
        attributes: Vec::new(),
    }
}

fn node(mode: u16, kind: NodeKind<'_>) -> Node<'_> {
    Node {
        metadata: metadata(mode),
        kind,
    }
}

fn file(writer: &mut impl ImageWriter, bytes: &[u8]) -> Node<'static> {
    writer.begin();
    writer.append(bytes).unwrap();
    node(0o644, NodeKind::Regular(writer.end().unwrap()))
}

fn add(tree: &mut Tree, directory: NodeId, text: &str, node: Node<'_>) -> NodeId {
    let id = tree.add(node);
    tree.link(directory, text.as_bytes(), id);
    id
}

fn directory() -> Node<'static> {
    node(0o755, NodeKind::Directory)
}

fn attribute(name: &str, value: &[u8]) -> Attribute {
    Attribute {
        name: name.as_bytes().into(),
        value: value.into(),
    }
}

/// Bytes without a zero block, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0] | 1
        })
        .collect()
}

#[test]
fn an_empty_image_is_clean_in_every_size() {
    for size in [
        ImageSize::Fit,
        ImageSize::Exact(16 << 20),
        ImageSize::Exact(127 << 20),
        ImageSize::Exact(128 << 20),
        ImageSize::Exact(129 << 20),
        ImageSize::Exact(130 << 20),
        ImageSize::Exact(2 << 30),
        ImageSize::Exact(40 << 30),
        ImageSize::Exact(3 << 40),
        ImageSize::AtLeast(16 << 20),
        ImageSize::AtLeast(8 << 30),
    ] {
        let (bench, summary) = judged(size, |_| Tree::new(metadata(0o755)));
        assert_eq!(summary.nodes, 1);
        assert!(
            debugfs(&bench.path, "ls -l /").contains("lost+found"),
            "{size:?}"
        );
    }
}

#[test]
fn a_least_size_is_the_size_until_the_contents_need_more() {
    let content = noise(40 << 20);
    let with_content = |size| {
        let (bench, summary) = judged(size, |writer| {
            let mut tree = Tree::new(metadata(0o755));
            let plain = file(writer, &content);
            add(&mut tree, Tree::ROOT, "plain", plain);
            tree
        });
        let found = std::fs::metadata(&bench.path).unwrap();
        assert_eq!(found.len(), summary.size_bytes);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&found);
        (summary.size_bytes, blocks * 512)
    };
    let (large, allocated) = with_content(ImageSize::AtLeast(8 << 30));
    assert_eq!(large, 8 << 30);
    // What is free is a hole, however large the file system is.
    assert!(allocated < 44 << 20, "{allocated}");
    let (grown, _) = with_content(ImageSize::AtLeast(32 << 20));
    assert!(grown > 100 << 20, "{grown}");
}

#[test]
fn a_tree_of_odd_files_is_clean_and_reads_back() {
    let content = noise(3 * 4096 + 17);
    let (bench, summary) = judged(ImageSize::Fit, |writer| {
        let mut tree = Tree::new(metadata(0o755));
        let plain = file(writer, &content);
        let plain = add(&mut tree, Tree::ROOT, "plain", plain);
        tree.link(Tree::ROOT, b"second name", plain);
        let empty = file(writer, b"");
        add(&mut tree, Tree::ROOT, "empty", empty);
        let long = "n".repeat(255);
        let deep = add(&mut tree, Tree::ROOT, &long, directory());
        add(
            &mut tree,
            deep,
            "fast",
            node(0o777, NodeKind::Symlink(&[b't'; 59])),
        );
        add(
            &mut tree,
            deep,
            "slow",
            node(0o777, NodeKind::Symlink(&[b't'; 60])),
        );
        add(
            &mut tree,
            deep,
            "longest",
            node(0o777, NodeKind::Symlink(&[b't'; 4095])),
        );
        for (text, kind) in [
            (
                "null",
                NodeKind::CharacterDevice(DeviceNumber { major: 1, minor: 3 }),
            ),
            (
                "new",
                NodeKind::CharacterDevice(DeviceNumber {
                    major: 4095,
                    minor: 0xf_ffff,
                }),
            ),
            (
                "disk",
                NodeKind::BlockDevice(DeviceNumber {
                    major: 253,
                    minor: 300,
                }),
            ),
            ("pipe", NodeKind::Fifo),
            ("socket", NodeKind::Socket),
        ] {
            add(&mut tree, deep, text, node(0o600, kind));
        }
        let id = tree.add(node(0o4755, NodeKind::Fifo));
        tree.link(deep, b"not\xff\xfetext", id);
        let mut capable = file(writer, b"x");
        capable.metadata.attributes = vec![
            attribute("security.capability", b"\x01\0\0\x02\0\x04\n\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            attribute("user.long", &[7; 3000]),
            attribute("user.empty", b""),
            attribute("user.odd", b"a\nb\0c"),
            attribute("trusted.overlay", b"y"),
            attribute(
                "system.posix_acl_access",
                b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
                  \x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff",
            ),
        ];
        add(&mut tree, Tree::ROOT, "capable", capable);
        tree
    });
    assert_eq!(summary.nodes, 14);
    let out = bench.path.with_extension("out");
    debugfs(&bench.path, &format!("dump plain {}", out.display()));
    assert_eq!(std::fs::read(&out).unwrap(), content);
    let stat = debugfs(&bench.path, "stat \"second name\"");
    assert!(
        stat.contains("Links: 2") && stat.contains("User: 70000"),
        "{stat}"
    );
    let listed = debugfs(&bench.path, "ea_list capable");
    for text in [
        "security.capability (20)",
        "user.long (3000)",
        "user.odd (5)",
        "trusted.overlay",
    ] {
        assert!(listed.contains(text), "{listed}");
    }
}

#[test]
fn a_large_directory_is_indexed_and_clean() {
    for count in [200, 30_000] {
        let (bench, _) = judged(ImageSize::Fit, |writer| {
            let mut tree = Tree::new(metadata(0o755));
            let node = file(writer, b"shared");
            let large = add(&mut tree, Tree::ROOT, "large", directory());
            let shared = tree.add(node);
            for number in 0..count {
                let text = format!("an entry with a name of some length, number {number}");
                tree.link(large, text.as_bytes(), shared);
            }
            tree
        });
        let index = debugfs(&bench.path, "htree_dump large");
        assert!(index.contains("Hash Version: 1"), "{index}");
        assert!(debugfs(&bench.path, "stat large").contains("0x81000"));
    }
}

#[test]
fn two_levels_of_index_are_clean() {
    let (bench, _) = judged(ImageSize::Fit, |writer| {
        let mut tree = Tree::new(metadata(0o755));
        let large = add(&mut tree, Tree::ROOT, "large", directory());
        let mut shared = None;
        for number in 0..60_000 {
            // An inode counts up to 65000 names.
            let node = *shared.get_or_insert_with(|| {
                let node = file(writer, b"shared");
                tree.add(node)
            });
            tree.link(large, format!("{number:0>250}").as_bytes(), node);
        }
        tree
    });
    let index = debugfs(&bench.path, "htree_dump large");
    assert!(index.contains("Indirect levels: 1"), "{}", &index[..400]);
}

#[test]
fn more_subdirectories_than_links_can_count_are_clean() {
    judged(ImageSize::Fit, |_| {
        let mut tree = Tree::new(metadata(0o755));
        for number in 0..66_000 {
            add(&mut tree, Tree::ROOT, &format!("{number}"), directory());
        }
        tree
    });
}

#[test]
fn a_file_of_many_pieces_gets_a_tree_and_reads_back() {
    let mut whole = Vec::new();
    let (bench, _) = judged(ImageSize::Fit, |writer| {
        let block = noise(4096);
        writer.begin();
        // More than one leaf of 340 extents.
        for _ in 0..900 {
            writer.append(&block).unwrap();
            writer.append_hole(8192).unwrap();
            whole.extend_from_slice(&block);
            whole.extend_from_slice(&[0; 8192]);
        }
        let id = writer.end().unwrap();
        let mut tree = Tree::new(metadata(0o755));
        add(
            &mut tree,
            Tree::ROOT,
            "pieces",
            node(0o644, NodeKind::Regular(id)),
        );
        tree
    });
    let out = bench.path.with_extension("out");
    debugfs(&bench.path, &format!("dump pieces {}", out.display()));
    assert!(std::fs::read(&out).unwrap() == whole);
    assert!(debugfs(&bench.path, "stat pieces").contains("ETB0"));
}

#[test]
fn a_sparse_file_of_three_gib_takes_no_room() {
    let (bench, summary) = judged(ImageSize::Fit, |writer| {
        writer.begin();
        writer.append(b"begin").unwrap();
        writer.append_hole(3 << 30).unwrap();
        writer.append(b"end").unwrap();
        let id = writer.end().unwrap();
        let mut tree = Tree::new(metadata(0o755));
        add(
            &mut tree,
            Tree::ROOT,
            "sparse",
            node(0o644, NodeKind::Regular(id)),
        );
        tree
    });
    assert!(summary.size_bytes < 256 << 20);
    let stat = debugfs(&bench.path, "stat sparse");
    assert!(
        stat.contains("Size: 3221225480") && stat.contains("Blockcount: 16"),
        "{stat}"
    );
}

#[test]
fn contents_beyond_one_group_go_around_the_copies() {
    let content = noise(150 << 20);
    let (bench, _) = judged(ImageSize::Fit, |writer| {
        let mut tree = Tree::new(metadata(0o755));
        let large = file(writer, &content);
        add(&mut tree, Tree::ROOT, "large", large);
        tree
    });
    let out = bench.path.with_extension("out");
    debugfs(&bench.path, &format!("dump large {}", out.display()));
    assert!(std::fs::read(&out).unwrap() == content);
}

#[test]
fn a_fitted_image_of_many_groups_is_clean_and_a_quarter_free() {
    let (_bench, summary) = judged(ImageSize::Fit, |writer| {
        let mut tree = Tree::new(metadata(0o755));
        let large = file(writer, &noise(700 << 20));
        add(&mut tree, Tree::ROOT, "large", large);
        tree
    });
    let free = summary.size_bytes - summary.used_bytes;
    assert!(
        free >= summary.used_bytes / 4 && free < summary.used_bytes / 3,
        "{summary:?}"
    );
}

#[test]
fn contents_without_a_name_become_free_space() {
    let build = |dropped: bool| {
        judged(ImageSize::Exact(512 << 20), move |writer| {
            let mut tree = Tree::new(metadata(0o755));
            if dropped {
                file(writer, &noise(140 << 20));
            }
            let kept = file(writer, b"kept");
            add(&mut tree, Tree::ROOT, "kept", kept);
            tree
        })
    };
    let (with, with_summary) = build(true);
    let (_without, without_summary) = build(false);
    assert_eq!(with_summary.used_bytes, without_summary.used_bytes);
    let bytes = std::fs::read(&with.path).unwrap();
    let noise = noise(1 << 20);
    assert!(
        !bytes
            .chunks_exact(4096)
            .any(|block| block == &noise[..4096])
    );
}

#[test]
fn a_size_that_is_too_small_says_what_is_needed_and_that_is_enough() {
    let content = noise(100 << 20);
    let build = |size: u64| {
        make(ImageSize::Exact(size), |writer| {
            let mut tree = Tree::new(metadata(0o755));
            let node = file(writer, &content);
            add(&mut tree, Tree::ROOT, "file", node);
            tree
        })
    };
    let (_bench, refused) = build(64 << 20);
    let Err(ImageError::TooSmall {
        needed_bytes,
        given_bytes,
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(given_bytes, 64 << 20);
    let (bench, summary) = build(needed_bytes);
    assert!(summary.is_ok(), "{summary:?}");
    fsck(&bench.path);
    // Nearly as small as possible: an exact size has its own, smaller, journal and head.
    let (_bench, refused) = build(100 << 20);
    assert!(matches!(refused, Err(ImageError::TooSmall { .. })));
}

#[test]
fn many_nodes_in_little_space_are_clean() {
    let (_, summary) = judged(ImageSize::Fit, |_| {
        let mut tree = Tree::new(metadata(0o755));
        for outer in 0..100 {
            let id = add(&mut tree, Tree::ROOT, &format!("{outer}"), directory());
            for inner in 0..2000 {
                add(
                    &mut tree,
                    id,
                    &format!("{inner}"),
                    node(0o644, NodeKind::Fifo),
                );
            }
        }
        tree
    });
    assert_eq!(summary.nodes, 200_101);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let build = || {
        judged(ImageSize::Fit, |writer| {
            let mut tree = Tree::new(metadata(0o755));
            for number in 0..500 {
                let node = file(writer, &noise(number * 50));
                add(&mut tree, Tree::ROOT, &format!("{number}"), node);
            }
            tree
        })
    };
    let (first, _) = build();
    let (second, _) = build();
    assert!(std::fs::read(first.path).unwrap() == std::fs::read(second.path).unwrap());
}

#[test]
fn a_lost_and_found_of_the_tree_is_kept() {
    let (bench, _) = judged(ImageSize::Fit, |_| {
        let mut tree = Tree::new(metadata(0o755));
        let own = add(&mut tree, Tree::ROOT, "lost+found", directory());
        add(&mut tree, own, "found", node(0o644, NodeKind::Fifo));
        tree
    });
    assert!(debugfs(&bench.path, "ls lost+found").contains("found"));
}

type Build = fn(&mut Tree);

fn fifo() -> Node<'static> {
    node(0o644, NodeKind::Fifo)
}

fn fifo_with(attribute: Attribute) -> Node<'static> {
    let mut node = fifo();
    node.metadata.attributes.push(attribute);
    node
}

#[test]
fn what_ext4_cannot_hold_is_refused_by_name() {
    let long_name: Build = |tree| {
        add(tree, Tree::ROOT, &"n".repeat(256), fifo());
    };
    let dots: Build = |tree| {
        add(tree, Tree::ROOT, "..", fifo());
    };
    let slash: Build = |tree| {
        add(tree, Tree::ROOT, "a/b", fifo());
    };
    let twice: Build = |tree| {
        add(tree, Tree::ROOT, "twice", fifo());
        add(tree, Tree::ROOT, "twice", fifo());
    };
    let circle: Build = |tree| {
        let id = add(tree, Tree::ROOT, "one", directory());
        tree.link(id, b"loop", id);
    };
    let empty_link: Build = |tree| {
        add(
            tree,
            Tree::ROOT,
            "link",
            node(0o777, NodeKind::Symlink(&[])),
        );
    };
    let large: Build = |tree| {
        add(
            tree,
            Tree::ROOT,
            "big",
            fifo_with(attribute("user.big", &[1; 4100])),
        );
    };
    let foreign: Build = |tree| {
        add(
            tree,
            Tree::ROOT,
            "odd",
            fifo_with(attribute("com.apple.odd", b"1")),
        );
    };
    for (build, part) in [
        (long_name, "a name that ext4 cannot hold"),
        (dots, "`/..`"),
        (slash, "`/a/b`"),
        (twice, "`/twice` is there twice"),
        (circle, "`/one/loop` is a second name"),
        (empty_link, "`/link`"),
        (large, "`/big`"),
        (foreign, "`com.apple.odd` of `/odd`"),
    ] {
        let (_bench, result) = make(ImageSize::Fit, |_| {
            let mut tree = Tree::new(metadata(0o755));
            build(&mut tree);
            tree
        });
        let text = result.unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_sink_that_is_full_is_an_error_with_its_cause() {
    struct Full;
    impl Sink for Full {
        fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn clear(&mut self, _: u64, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn set_len(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = Ext4Writer::new(Full, ImageSize::Fit, IDENTITY).unwrap();
    writer.begin();
    let error = writer.append(&noise(4 << 20)).unwrap_err();
    let ImageError::Write { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
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

/// What the kernel would write into the superblocks is there: each write at a first mount is paid by every
/// first boot of a guest.
#[test]
fn a_first_mount_finds_nothing_to_settle() {
    let mounted_at = tempfile::tempdir().unwrap();
    let mount_point = mounted_at.path();
    for (name, size) in [
        ("small", ImageSize::Exact(200 << 20)),
        ("standard", ImageSize::AtLeast(8 << 30)),
        ("large", ImageSize::Exact(300 << 30)),
    ] {
        let (bench, _) = judged(size, |_| Tree::new(metadata(0o755)));
        let image = bench.path.as_path();
        assert_eq!(
            said(image, "Journal features:"),
            "journal_64bit journal_checksum_v3",
            "{name}"
        );
        let overhead = said(image, "Overhead clusters:");
        let before = copy(image);
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([image, mount_point])
            .output()
            .unwrap();
        if !mounted.status.success() {
            eprintln!("skipped: this process may not mount a disk");
            return;
        }
        let unmounted = Command::new("umount").arg(mount_point).status().unwrap();
        assert!(unmounted.success());
        assert_eq!(said(image, "Overhead clusters:"), overhead, "{name}");
        assert!(copy(image) == before, "{name}: a copy was written anew");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However a content is cut into pieces, the image is the same.
    #[test]
    fn pieces_do_not_matter(
        blocks in proptest::collection::vec((any::<bool>(), 1usize..9000), 1..12),
        cuts in proptest::collection::vec(1usize..5000, 1..40),
    ) {
        let mut content = Vec::new();
        for (zero, len) in blocks {
            if zero { content.resize(content.len() + len, 0) } else { content.extend(noise(len)) }
        }
        let build = |pieces: bool| {
            make(ImageSize::Exact(16 << 20), |writer| {
                let mut tree = Tree::new(metadata(0o755));
                writer.begin();
                let mut rest = &content[..];
                for cut in &cuts {
                    if pieces {
                        let (head, tail) = rest.split_at(rest.len().min(*cut));
                        if head.iter().all(|byte| *byte == 0) {
                            writer.append_hole(head.len() as u64).unwrap();
                        } else {
                            writer.append(head).unwrap();
                        }
                        rest = tail;
                    }
                }
                writer.append(rest).unwrap();
                let id = writer.end().unwrap();
                add(&mut tree, Tree::ROOT, "file", node(0o644, NodeKind::Regular(id)));
                tree
            }).0
        };
        let (whole, pieces) = (build(false), build(true));
        fsck(&pieces.path);
        let out = pieces.path.with_extension("out");
        debugfs(&pieces.path, &format!("dump file {}", out.display()));
        prop_assert_eq!(std::fs::read(out).unwrap(), content);
        prop_assert!(std::fs::read(&whole.path).unwrap() == std::fs::read(&pieces.path).unwrap());
    }
}
