//! Archives of other programs, and archives of nobody.

use std::process::Command;

use proptest::prelude::*;

use crate::{Content, Entry, EntryKind, TarError, TarReader};

fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        // What a header claims must not be held.
        let mut holes = 0;
        reader
            .content(|piece| {
                match piece {
                    Content::Bytes(bytes) => content.extend_from_slice(bytes),
                    Content::Hole(len) if len < 1 << 22 => {
                        content.resize(content.len() + usize::try_from(len).unwrap(), 0);
                    }
                    Content::Hole(_) => holes += 1,
                }
                Ok::<(), std::convert::Infallible>(())
            })?
            .unwrap();
        all.push((entry, content));
        assert!(holes <= SPARSE_HOLES_MAX);
    }
    Ok(all)
}

const SPARSE_HOLES_MAX: usize = 1 << 20;

#[expect(clippy::disallowed_methods, reason = "the judge is another program")]
fn gnu_tar(arguments: &[&str], script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(made.success());
    let output = Command::new("tar")
        .args(arguments)
        .args(["-cf", "-", "--sort=name", "."])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

const TREE: &str = "
    mkdir -p deep/$(printf 'd%.0s' $(seq 120))/$(printf 'e%.0s' $(seq 120))
    printf content > deep/file
    printf '' > empty
    ln deep/file zz-hard
    ln -s target link
    ln -s \"$(printf 't%.0s' $(seq 300))\" long-link
    mkfifo pipe
    chmod 4755 deep/file
    touch -d '2001-02-03 04:05:06.789 UTC' deep/file
    touch \"$(printf 'n%.0s' $(seq 255))\"
    truncate -s 1000000 sparse
    printf middle | dd of=sparse bs=1 seek=400000 conv=notrunc status=none
";

#[test]
fn every_form_of_gnu_tar_says_the_same() {
    for form in [
        &["--format=gnu"][..],
        &["--format=posix"],
        &["--format=gnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        let all = read_all(&gnu_tar(form, TREE)).unwrap();
        let find = |path: &str| {
            let found = all.iter().find(|(entry, _)| entry.path == path.as_bytes());
            found.unwrap_or_else(|| panic!("{form:?} has no {path}"))
        };
        let (file, content) = find("./deep/file");
        assert_eq!(
            (file.mode, &content[..], file.size),
            (0o4755, &b"content"[..], 7)
        );
        assert_eq!(file.seconds, 981_173_106);
        if form[0] == "--format=posix" {
            assert_eq!(file.nanoseconds, 789_000_000);
        }
        assert_eq!(
            find("./zz-hard").0.kind,
            EntryKind::HardLink(b"./deep/file".to_vec())
        );
        assert_eq!(
            find("./link").0.kind,
            EntryKind::Symlink(b"target".to_vec())
        );
        assert_eq!(
            find("./long-link").0.kind,
            EntryKind::Symlink(vec![b't'; 300])
        );
        assert_eq!(find("./pipe").0.kind, EntryKind::Fifo);
        assert_eq!(find("./deep/").0.kind, EntryKind::Directory);
        let deepest = format!("./deep/{}/{}/", "d".repeat(120), "e".repeat(120));
        assert_eq!(find(&deepest).0.kind, EntryKind::Directory);
        assert_eq!(find(&format!("./{}", "n".repeat(255))).1, b"");
        let (sparse, content) = find("./sparse");
        assert_eq!(
            (sparse.size, content.len()),
            (1_000_000, 1_000_000),
            "{form:?}"
        );
        assert_eq!(&content[400_000..400_006], b"middle");
        assert!(
            content[..400_000]
                .iter()
                .chain(&content[400_006..])
                .all(|byte| *byte == 0)
        );
    }
}

#[test]
fn names_that_are_not_text_come_through() {
    let bytes = gnu_tar(&["--format=posix"], "touch \"$(printf 'a\\377\\376b')\"");
    let all = read_all(&bytes).unwrap();
    assert_eq!(all[1].0.path, b"./a\xff\xfeb");
}

/// A header with a right checksum.
fn header(path: &[u8], kind: u8, size: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..124 + size.len()].copy_from_slice(size);
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar\0");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[test]
fn a_huge_claim_costs_nothing_and_is_an_error() {
    let claim = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    for kind in *b"0xLKgSV" {
        let archive = header(b"file", kind, claim);
        let error = read_all(&archive).unwrap_err();
        assert!(
            matches!(
                error,
                TarError::TooLong { .. } | TarError::Truncated { .. } | TarError::Field { .. }
            ),
            "{}: {error}",
            char::from(kind)
        );
    }
}

#[test]
fn unknown_types_are_named() {
    let error = read_all(&header(b"odd", b'Q', b"0")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the entry `odd` has the unknown type `Q`"
    );
}

#[test]
fn a_size_behind_an_odd_value_is_still_seen() {
    // A reader that splits at line ends takes the second half of the value for a record.
    let value = "SCHILY.xattr.security.capability=\u{1}\n11 size=99\n\0";
    let record = format!("{} {value}\n", value.len() + 4);
    let mut archive = header(b"pax", b'x', format!("{:011o}", record.len()).as_bytes());
    archive.extend_from_slice(record.as_bytes());
    archive.resize(1024, 0);
    archive.extend(header(b"file", b'0', b"00000000003"));
    archive.extend_from_slice(b"abc");
    archive.resize(2048, 0);
    let all = read_all(&archive).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1, b"abc");
    assert_eq!(all[0].0.attributes[0].1, b"\x01\n11 size=99\n\0");
}

#[test]
fn every_cut_of_an_archive_is_an_error_or_an_end_behind_a_whole_entry() {
    let whole = gnu_tar(
        &["--format=posix", "--sparse"],
        "printf content > file; truncate -s 9999 s",
    );
    let contents = |archive: &[u8]| -> Result<Vec<Vec<u8>>, TarError> {
        Ok(read_all(archive)?
            .into_iter()
            .map(|entry| entry.1)
            .collect())
    };
    let entries = contents(&whole).unwrap();
    for cut in 0..whole.len() {
        match contents(&whole[..cut]) {
            Ok(all) => assert_eq!(all, entries[..all.len()], "{cut}"),
            Err(error) => assert!(
                matches!(error, TarError::Truncated { .. }),
                "{cut}: {error}"
            ),
        }
    }
}

/// `umoci insert --opaque` writes layers that end so.
#[test]
fn an_archive_may_end_behind_the_last_byte_of_its_last_file() {
    let mut archive = header(b"file", b'0', b"00000000003");
    archive.extend_from_slice(b"abc");
    let all = read_all(&archive).unwrap();
    assert_eq!((all.len(), all[0].1.as_slice()), (1, &b"abc"[..]));
    archive.pop();
    read_all(&archive).unwrap_err();
}

proptest! {
    /// Whatever is changed in an archive, reading it ends, with entries or with an error.
    #[test]
    fn mutated_archives_end(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12), fix in any::<bool>()) {
        let mut archive = header(b"first", b'S', b"00000000010");
        archive.resize(1024, 7);
        let map = b"13 GNU.s=aaa\n22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=100\n";
        archive.extend(header(b"pax", b'x', format!("{:011o}", map.len()).as_bytes()));
        archive.extend_from_slice(map);
        archive.resize(archive.len().next_multiple_of(512), 0);
        archive.extend(header(b"second", b'0', b"00000001003"));
        archive.extend_from_slice(b"1\n3\n3\n");
        archive.resize(archive.len().next_multiple_of(512), 0);
        archive.extend_from_slice(b"abc");
        archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
        for (at, value) in changes {
            let at = at.index(archive.len());
            archive[at] = value;
        }
        if fix {
            for start in (0..archive.len()).step_by(512) {
                let block = &mut archive[start..start + 512];
                if &block[257..262] == b"ustar" {
                    block[148..156].fill(b' ');
                    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
                }
            }
        }
        let _ = read_all(&archive);
    }
}
