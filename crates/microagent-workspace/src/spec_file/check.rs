//! Whether a spec has only known keys, each with a value of its type. Values are read elsewhere.

use super::keys::{self, Kind, PLANNED};
use super::tree::{Entry, Node, Value};
use super::{SpecFault, SpecProblem};

/// The first of the structure, in the order of the file.
pub(super) fn first_problem(root: &Node) -> Option<SpecProblem> {
    if root.is_null() {
        return Some(SpecProblem::refused(root.place, "the file is empty", None));
    }
    match &root.value {
        Value::Map(entries) => table(entries, ""),
        Value::Scalar { .. } | Value::List(_) => {
            let hint = Some("write KEY: VALUE lines, for example image: debian:12");
            Some(SpecProblem::refused(
                root.place,
                "a spec file is a map of keys",
                hint,
            ))
        }
    }
}

fn table(entries: &[Entry], level: &'static str) -> Option<SpecProblem> {
    entries.iter().find_map(|entry| {
        let Some((_, kind)) = keys::of_level(level).find(|(name, _)| *name == entry.key) else {
            return Some(unknown(entry, level));
        };
        value(entry, level, kind)
    })
}

fn unknown(entry: &Entry, level: &'static str) -> SpecProblem {
    let key = entry.key.clone();
    let what = if level.is_empty() && PLANNED.contains(&key.as_str()) {
        SpecFault::Planned { key }
    } else {
        SpecFault::UnknownKey {
            key,
            level: level.trim_end_matches("[]"),
            known: keys::of_level(level).map(|(name, _)| name).collect(),
        }
    };
    SpecProblem {
        place: entry.place,
        what,
    }
}

fn value(entry: &Entry, level: &'static str, kind: Kind) -> Option<SpecProblem> {
    let below = || keys::level_below(level, &entry.key, kind);
    match (kind, &entry.node.value) {
        (Kind::Table, Value::Map(entries)) => return table(entries, below()),
        (Kind::Tables, Value::List(nodes)) => {
            let below = below();
            return nodes.iter().find_map(|node| item(entry, node, below, kind));
        }
        (Kind::WordsOrTables, Value::List(nodes)) => {
            let below = below();
            return nodes.iter().find_map(|node| match &node.value {
                Value::Scalar { .. } if !node.is_null() => None,
                _ => item(entry, node, below, kind),
            });
        }
        (Kind::Words, Value::List(nodes)) => {
            let odd = nodes.iter().find(|node| !is_text(node))?;
            let message = format!("each of `{}` must be a word", entry.key);
            return Some(SpecProblem::refused(odd.place, message, None));
        }
        (Kind::Variables | Kind::Labels, Value::Map(entries)) => {
            let fits = |node: &Node| is_text(node) || (kind == Kind::Variables && node.is_null());
            let odd = entries.iter().find(|entry| !fits(&entry.node))?;
            let message = format!("`{}` in `{}` must be a text", odd.key, entry.key);
            return Some(SpecProblem::refused(odd.node.place, message, None));
        }
        (_, Value::Scalar { text, plain })
            if scalar_fits(kind, text, *plain) && (kind != Kind::Text || !entry.node.is_null()) =>
        {
            return None;
        }
        _ => {}
    }
    Some(wrong_type(entry, level, kind))
}

fn item(entry: &Entry, node: &Node, below: &'static str, kind: Kind) -> Option<SpecProblem> {
    match &node.value {
        Value::Map(entries) => table(entries, below),
        Value::Scalar { .. } | Value::List(_) => {
            let or = if kind == Kind::WordsOrTables {
                "a word or "
            } else {
                ""
            };
            let message = format!("each of `{}` must be {or}a map of keys", entry.key);
            Some(SpecProblem::refused(node.place, message, None))
        }
    }
}

fn scalar_fits(kind: Kind, text: &str, plain: bool) -> bool {
    let digits = plain && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match kind {
        Kind::Text => true,
        Kind::One => digits && text == "1",
        Kind::Whole => digits,
        Kind::Flag => {
            plain && matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
        }
        Kind::Quoted => !plain,
        Kind::Words
        | Kind::Variables
        | Kind::Labels
        | Kind::Table
        | Kind::Tables
        | Kind::WordsOrTables => false,
    }
}

fn is_text(node: &Node) -> bool {
    matches!(node.value, Value::Scalar { .. }) && !node.is_null()
}

fn wrong_type(entry: &Entry, level: &str, kind: Kind) -> SpecProblem {
    let key = &entry.key;
    let of = match level.trim_end_matches("[]") {
        "" => String::new(),
        level => format!(" in `{level}`"),
    };
    let wanted = match kind {
        Kind::Text => "a text",
        Kind::One => "1",
        Kind::Whole => "a whole number without quotes",
        Kind::Flag => "true or false",
        Kind::Quoted => "a quoted text",
        Kind::Words => "a list of words",
        Kind::Variables | Kind::Labels | Kind::Table => "a map of keys",
        Kind::Tables => "a list of maps",
        Kind::WordsOrTables => "a list",
    };
    let hint = match (kind, &entry.node.value) {
        (Kind::Words, Value::Scalar { text, .. })
            if matches!(key.as_str(), "entrypoint" | "command") =>
        {
            Some(format!("write a list: {key}: [\"sh\", \"-c\", {text:?}]"))
        }
        (Kind::Words | Kind::WordsOrTables, Value::Scalar { text, .. }) => {
            Some(format!("write a list: {key}: [{text:?}]"))
        }
        (Kind::Quoted, Value::Scalar { text, .. }) => Some(format!("write {key}: \"{text}\"")),
        _ => None,
    };
    let message = format!("`{key}`{of} must be {wanted}");
    SpecProblem::refused(entry.node.place, message, hint.as_deref())
}
