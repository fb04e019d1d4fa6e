//! Tables of layers and what is left of them, and properties of any layers.

use microagent_ext4::NodeId;
use proptest::prelude::*;

use super::*;
use crate::entry::LeadingSlash;

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes(), LeadingSlash::Refused).unwrap()
}

/// An entry by a word: `d PATH`, `f PATH`, `l PATH TARGET`, `h PATH TARGET`, `p PATH`; the mode
/// tells entries apart.
pub(super) fn entry(word: &str, mode: u16) -> LayerEntry {
    let mut parts = word.split(' ');
    let (kind, at) = (parts.next().unwrap(), parts.next().unwrap());
    let kind = match (kind, parts.next()) {
        ("d", None) => EntryKind::Directory,
        ("f", None) => {
            EntryKind::CharacterDevice(microagent_ext4::DeviceNumber { major: 1, minor: 3 })
        }
        ("p", None) => EntryKind::Fifo,
        ("l", Some(target)) => EntryKind::Symlink(target.as_bytes().into()),
        ("h", Some(target)) => EntryKind::HardLink(path(target)),
        _ => panic!("{word}"),
    };
    LayerEntry {
        path: path(at),
        kind,
        metadata: Metadata {
            mode,
            ..Metadata::default()
        },
    }
}

fn flatten(layers: &[&[&str]]) -> Result<Tree, FlattenError> {
    let mut flattening = Flattening::new(Whiteouts::Honoured);
    let mut mode = 0;
    for layer in layers {
        flattening.begin_layer();
        for word in *layer {
            mode += 1;
            flattening.apply(entry(word, mode))?;
        }
    }
    Ok(flattening.finish())
}

/// Every path with a letter for its kind and its mode.
pub(super) fn listing(tree: &Tree) -> Vec<String> {
    fn walk(tree: &Tree, id: NodeId, prefix: &str, lines: &mut Vec<String>) {
        let mut names: Vec<NameId> = tree.names(id).collect();
        names.sort_by_key(|name| tree.text(*name));
        for name in names {
            let node = tree.named(name).unwrap();
            let letter = match tree.kind(node) {
                NodeKind::Directory => "d",
                NodeKind::Symlink(_) => "l",
                NodeKind::Fifo => "p",
                _ => "f",
            };
            let path = format!("{prefix}{}", String::from_utf8_lossy(tree.text(name)));
            let mode = tree.metadata(node).mode;
            let mode = if mode == IMPLIED_DIRECTORY_MODE {
                "-".into()
            } else {
                mode.to_string()
            };
            lines.push(format!("{letter} {path} {mode}"));
            walk(tree, node, &format!("{path}/"), lines);
        }
    }
    let mut lines = Vec::new();
    walk(tree, Tree::ROOT, "", &mut lines);
    lines
}

#[test]
fn layers_lie_on_one_another_as_the_engines_do_it() {
    type Row<'a> = (&'a str, &'a [&'a [&'a str]], &'a [&'a str]);
    let table: &[Row] = &[
        ("a later file replaces", &[&["f a"], &["f a"]], &["f a 2"]),
        ("within a layer too", &[&["f a", "p a"]], &["p a 2"]),
        (
            "a directory keeps what is in it",
            &[&["d a", "f a/b"], &["d a"]],
            &["d a 3", "f a/b 2"],
        ),
        (
            "a file replaces a directory",
            &[&["d a", "f a/b"], &["f a"]],
            &["f a 3"],
        ),
        (
            "a directory replaces a link",
            &[&["d b", "l a b"], &["d a"]],
            &["d a 3", "d b 1"],
        ),
        (
            "a missing parent is made",
            &[&["f a/b/c"]],
            &["d a -", "d a/b -", "f a/b/c 1"],
        ),
        (
            "and described later",
            &[&["f a/b", "d a"]],
            &["d a 2", "f a/b 1"],
        ),
        (
            "a whiteout removes",
            &[&["f a", "f b"], &["f .wh.a"]],
            &["f b 2"],
        ),
        (
            "of a directory with all",
            &[&["d a", "f a/b"], &["f .wh.a"]],
            &[],
        ),
        (
            "not its own layer's, before",
            &[&["f a"], &["f a", "f .wh.a"]],
            &["f a 2"],
        ),
        (
            "not its own layer's, after",
            &[&["f a"], &["f .wh.a", "f a"]],
            &["f a 3"],
        ),
        (
            "only the lower part of a directory",
            &[&["d a", "f a/old"], &["f a/new", "f .wh.a"]],
            &["d a 1", "f a/new 3"],
        ),
        (
            "of nothing is nothing",
            &[&["f a"], &["f .wh.b", "f c/.wh.d", "f x/y/.wh..wh..opq"]],
            &["f a 1"],
        ),
        (
            "an opaque directory hides lower ones",
            &[
                &["d a", "f a/b", "d a/c", "f a/c/d"],
                &["f a/new", "f a/.wh..wh..opq"],
            ],
            &["d a 1", "f a/new 5"],
        ),
        (
            "wherever the mark stands",
            &[&["d a", "f a/b"], &["d a", "f a/.wh..wh..opq", "f a/b"]],
            &["d a 3", "f a/b 5"],
        ),
        (
            "and deeper parts of its own layer stay",
            &[
                &["f a/b/old", "f a/b/x/y"],
                &["f a/b/new", "f a/.wh..wh..opq"],
            ],
            &["d a -", "d a/b -", "f a/b/new 3"],
        ),
        (
            "other marks mean nothing",
            &[&["f a"], &["d .wh..wh.plnk", "f .wh..wh.aufs"]],
            &["f a 1"],
        ),
        (
            "a link on the way is followed",
            &[&["d usr/lib", "l lib usr/lib"], &["f lib/x"]],
            &["l lib 2", "d usr -", "d usr/lib 1", "f usr/lib/x 3"],
        ),
        (
            "an absolute one begins at the root",
            &[&["d usr/lib", "l a/lib /usr/lib"], &["f a/lib/x"]],
            &[
                "d a -",
                "l a/lib 2",
                "d usr -",
                "d usr/lib 1",
                "f usr/lib/x 3",
            ],
        ),
        (
            "upwards ends at the root",
            &[&["l a ../../../b", "f a/x"]],
            &["l a 1", "d b -", "f b/x 2"],
        ),
        (
            "a link to nowhere makes its way",
            &[&["l a b/c", "f a/x"]],
            &["l a 1", "d b -", "d b/c -", "f b/c/x 2"],
        ),
        (
            "the last name is not followed",
            &[&["d d", "l a d"], &["f a"]],
            &["f a 3", "d d 1"],
        ),
        (
            "a lower file gives way to a directory",
            &[&["f a"], &["f a/b"]],
            &["d a -", "f a/b 2"],
        ),
        (
            "a hard link keeps its file",
            &[&["f a", "h b a"], &["f .wh.a"]],
            &["f b 1"],
        ),
        (
            "and its old content",
            &[&["f a", "h b a"], &["f a"]],
            &["f a 3", "f b 1"],
        ),
        (
            "a hard link into a lower layer",
            &[&["f a"], &["h b a"]],
            &["f a 1", "f b 1"],
        ),
        ("the root itself", &[&["d ./", "f a"]], &["f a 2"]),
    ];
    for (fact, layers, expected) in table {
        let tree = flatten(layers).unwrap_or_else(|error| panic!("{fact}: {error}"));
        assert_eq!(listing(&tree), *expected, "{fact}");
    }
}

#[test]
fn what_cannot_be_placed_is_refused_by_name() {
    let circle: Vec<String> = vec!["l a b".into(), "l b a".into(), "f a/x".into()];
    let circle: Vec<&str> = circle.iter().map(String::as_str).collect();
    for (layers, text) in [
        (
            vec!["f a", "f a/b"],
            "`a/b` cannot be placed, since `a` is not a directory",
        ),
        (
            circle,
            "`a/x` cannot be placed, since more than 40 symbolic links lead to it",
        ),
        (
            vec!["h b a"],
            "the hard link `b` leads to `a`, which is not there",
        ),
        (
            vec!["d a", "h b a"],
            "the hard link `b` leads to the directory `a`",
        ),
        (vec!["f ./"], "the root can only be a directory"),
        (vec!["f a/.wh."], "the whiteout `a/.wh.` names nothing"),
        (
            vec!["d a", "f a/.wh..."],
            "the whiteout `a/.wh...` names nothing",
        ),
    ] {
        let text = if layers == ["f a/.wh."] {
            None
        } else {
            Some(text)
        };
        let result = flatten(&[&layers]);
        match text {
            Some(text) => assert_eq!(result.unwrap_err().to_string(), text),
            // In a directory that is not there a whiteout is nothing at all.
            None => assert!(result.is_ok()),
        }
    }
}

#[test]
fn forty_links_are_followed_and_one_more_is_not() {
    let chain = |count: usize| {
        let mut words: Vec<String> = (0..count).map(|n| format!("l {n} {}", n + 1)).collect();
        words.push(format!("d {count}"));
        words.push("f 0/x".into());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        flatten(&[&words]).map(|_| ())
    };
    assert_eq!(chain(LINKS_FOLLOWED_MAX), Ok(()));
    assert_eq!(
        chain(LINKS_FOLLOWED_MAX + 1),
        Err(FlattenError::LinkCircle { path: "0/x".into() })
    );
}

#[test]
fn in_a_plain_tarball_marks_are_files() {
    let mut flattening = Flattening::new(Whiteouts::Plain);
    flattening.begin_layer();
    for word in ["f a", "f .wh.a", "f .wh..wh..opq"] {
        flattening.apply(entry(word, 1)).unwrap();
    }
    assert_eq!(
        listing(&flattening.finish()),
        ["f .wh..wh..opq 1", "f .wh.a 1", "f a 1"]
    );
}

/// A flattening that may remember so much beyond the empty root.
fn bounded(bytes: usize) -> Flattening {
    let mut flattening = Flattening::new(Whiteouts::Honoured);
    let empty = flattening.tree.held_bytes() + NODE_BESIDE_BYTES;
    flattening.index_bytes_max = empty + bytes;
    flattening.begin_layer();
    flattening
}

#[test]
fn as_much_as_may_be_remembered_is_and_more_is_refused() {
    // Three pipes whose names have one letter share a mode; the room is looked at before each entry.
    let three = 3 * (FILE_BYTES + 1) + tree::SHARED_BYTES;
    for (room, fits) in [(three - FILE_BYTES - 1, 3), (three - FILE_BYTES - 2, 2)] {
        let mut flattening = bounded(room);
        let mut laid = ["p a", "p b", "p c"].map(|word| flattening.apply(entry(word, 0)));
        let refused = laid.iter_mut().skip(fits).all(|result| result.is_err());
        assert!(
            laid[..fits].iter().all(Result::is_ok) && refused,
            "{room}: {laid:?}"
        );
    }
}

#[test]
fn names_link_targets_and_attributes_are_remembered_too() {
    let second = |first: LayerEntry, room: usize| {
        let mut flattening = bounded(room);
        flattening.apply(first).unwrap();
        let limit_bytes = flattening.index_bytes_max;
        let result = flattening.apply(entry("p x", 0));
        if let Err(error) = &result {
            assert_eq!(*error, FlattenError::IndexFull { limit_bytes });
        }
        result.is_ok()
    };
    let file = FILE_BYTES + tree::SHARED_BYTES;
    let mut capable = entry("p capable", 0);
    capable.metadata.attributes = vec![microagent_ext4::Attribute {
        name: b"user.a"[..].into(),
        value: vec![0; 1000].into(),
    }];
    for (first, needs) in [
        (entry("p namename", 0), 8),
        (entry("l link 123456", 0), 4 + 2 + 6),
        (
            capable,
            7 + 6 + 1000 + size_of::<microagent_ext4::Attribute>(),
        ),
    ] {
        assert!(second(first.clone(), file + needs));
        assert!(!second(first, file + needs - 1));
    }
    // A further name of a file is less than a file, and not nothing.
    let mut flattening = bounded(file + 1);
    flattening.apply(entry("p a", 0)).unwrap();
    flattening.apply(entry("h b a", 0)).unwrap();
    assert!(flattening.apply(entry("h c a", 0)).is_err());
}

#[test]
fn any_number_of_marks_costs_as_much_as_one() {
    // Were each mark a walk over all names, this would not end.
    const NAMES: usize = 100_000;
    let mut flattening = Flattening::new(Whiteouts::Honoured);
    flattening.begin_layer();
    flattening.begin_layer();
    for number in 0..NAMES {
        flattening
            .apply(entry(&format!("f d/{number}"), 0))
            .unwrap();
    }
    for _ in 0..NAMES {
        flattening.apply(entry("f d/.wh..wh..opq", 0)).unwrap();
        flattening.apply(entry("f .wh.d", 0)).unwrap();
    }
    let folder = flattening.child(Tree::ROOT, b"d").unwrap();
    assert_eq!(flattening.tree.names(folder).count(), NAMES);
}

fn word() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", ".wh.a", ".wh..wh..opq", ".wh..", "."]);
    let path = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
    (
        prop::sample::select(vec!["d", "f", "p", "l", "h"]),
        path.clone(),
        path,
        any::<bool>(),
    )
        .prop_map(|(kind, at, target, up)| match kind {
            "l" => format!("l {at} {}{target}", if up { "../" } else { "/" }),
            "h" => format!("h {at} {target}"),
            _ => format!("{kind} {at}"),
        })
}

proptest! {
    /// Whatever layers say, the result is a tree: each directory has one name, no name is a mark
    /// or leads anywhere, and the same layers give the same tree.
    #[test]
    fn any_layers_give_a_tree(layers in prop::collection::vec(prop::collection::vec(word(), 0..30), 1..4)) {
        let build = || {
            let mut flattening = Flattening::new(Whiteouts::Honoured);
            for layer in &layers {
                flattening.begin_layer();
                for (mode, word) in (0..).zip(layer) {
                    // What is refused is refused; the rest goes on.
                    let _ = flattening.apply(entry(word, mode));
                }
            }
            flattening.finish()
        };
        let tree = build();
        let lines = listing(&tree);
        prop_assert!(lines.len() < 10_000);
        for line in &lines {
            let path = line.split(' ').nth(1).unwrap();
            prop_assert!(!path.contains("/../") && !path.ends_with("/..") && !path.contains("//"));
            // A mark on the way to an entry is only a name.
            let name = path.rsplit('/').next().unwrap();
            prop_assert!(!name.starts_with(".wh.") || line.ends_with(" -"), "{line}");
        }
        prop_assert_eq!(lines, listing(&build()));
    }

    /// A layer that is laid on a second time changes nothing.
    #[test]
    fn a_layer_twice_is_the_layer_once(layer in prop::collection::vec(word(), 0..30)) {
        let words: Vec<&str> = layer.iter().map(String::as_str).filter(|word| word.starts_with(['d', 'f', 'p'])).filter(|word| !word.contains(".wh.")).collect();
        if let (Ok(once), Ok(twice)) = (flatten(&[&words]), flatten(&[&words, &words])) {
            let kinds = |tree: &Tree| listing(tree).into_iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&once), kinds(&twice));
        }
    }
}
