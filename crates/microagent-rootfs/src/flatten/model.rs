//! Stacks of layers against a model so simple that it can be read at once: a map from path to what
//! is there, in which a mark deletes what the lower layers have put, before its layer adds its own.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    tests::{entry, listing},
    *,
};

/// What a layer says.
#[derive(Debug, Clone)]
enum Word {
    Folder(String),
    File(String),
    Whiteout(String),
    Opaque(String),
}

impl Word {
    fn line(&self) -> String {
        let marked = |path: &str| match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        match self {
            Self::Folder(path) => format!("d {path}"),
            Self::File(path) => format!("f {path}"),
            Self::Whiteout(path) => format!("f {}", marked(path)),
            Self::Opaque(path) if path.is_empty() => "f .wh..wh..opq".to_owned(),
            Self::Opaque(path) => format!("f {path}/.wh..wh..opq"),
        }
    }
}

/// Path to kind and number; a folder that nobody described has none.
type Model = BTreeMap<String, (char, Option<u16>)>;

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn lay(model: &mut Model, layer: &[(u16, Word)]) {
    for (_, word) in layer {
        match word {
            Word::Whiteout(gone) => model.retain(|path, _| path != gone && !is_below(path, gone)),
            Word::Opaque(folder) => model.retain(|path, _| !is_below(path, folder)),
            Word::Folder(_) | Word::File(_) => {}
        }
    }
    for (number, word) in layer {
        let (path, kind) = match word {
            Word::Folder(path) => (path, 'd'),
            Word::File(path) => (path, 'f'),
            Word::Whiteout(_) | Word::Opaque(_) => continue,
        };
        for (at, _) in path.match_indices('/') {
            model.entry(path[..at].to_owned()).or_insert(('d', None));
        }
        model.insert(path.clone(), (kind, Some(*number)));
    }
}

/// Folders and files have names of their own, so that nothing is ever in the way of anything.
fn words() -> impl Strategy<Value = Vec<Word>> {
    let folder = || prop::sample::select(vec!["x", "y", "z"]);
    let folders = || prop::collection::vec(folder(), 0..3).prop_map(|names| names.join("/"));
    let file = prop::sample::select(vec!["1", "2", "3"]);
    let joined = |(folder, name): (String, &str)| match folder.as_str() {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    };
    let a_file = (folders(), file).prop_map(joined);
    let a_folder = (folders(), folder()).prop_map(joined);
    let any_path = prop_oneof![a_file.clone(), a_folder.clone()];
    let word = prop_oneof![
        3 => a_file.prop_map(Word::File),
        2 => a_folder.prop_map(Word::Folder),
        1 => any_path.prop_map(Word::Whiteout),
        1 => folders().prop_map(Word::Opaque),
    ];
    prop::collection::vec(word, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_stack_of_layers_is_what_the_model_says(stack in prop::collection::vec(words(), 1..5)) {
        // Numbers tell entries apart, and stay clear of the mode of what nobody described.
        let mut number = 0o1000;
        let mut model = Model::new();
        let mut flattening = Flattening::new(Whiteouts::Honoured);
        for words in &stack {
            let layer: Vec<(u16, Word)> = words
                .iter()
                .map(|word| {
                    number += 1;
                    (number, word.clone())
                })
                .collect();
            lay(&mut model, &layer);
            flattening.begin_layer();
            for (number, word) in &layer {
                flattening.apply(entry(&word.line(), *number)).unwrap();
            }
        }
        // Whether a folder that a mark emptied and its own layer filled again keeps its old mode is
        // left open: engines differ in it. What is there, and every file's own entry, is not.
        let is_file = |line: &String| line.starts_with('f');
        let lines = listing(&flattening.finish());
        let files: Vec<&String> = lines.iter().filter(|line| is_file(line)).collect();
        let expected: Vec<String> = model
            .iter()
            .filter(|(_, (kind, _))| *kind == 'f')
            .map(|(path, (_, number))| format!("f {path} {}", number.unwrap_or_default()))
            .collect();
        prop_assert_eq!(files, expected.iter().collect::<Vec<_>>());
        let mut folders: Vec<&str> = lines
            .iter()
            .filter(|line| !is_file(line))
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        folders.sort_unstable();
        let expected: Vec<&str> = model
            .iter()
            .filter(|(_, (kind, _))| *kind == 'd')
            .map(|(path, _)| path.as_str())
            .collect();
        prop_assert_eq!(folders, expected);
    }
}
