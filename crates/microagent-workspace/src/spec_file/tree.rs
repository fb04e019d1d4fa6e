//! YAML 1.2 as nodes that know where they stand.
//!
//! What could surprise a reader is refused here: aliases, merge keys, tags, repeated keys, a second
//! document. Depth is bounded before anything is kept, so a hostile file costs no more than its length.

use super::{Place, SpecProblem};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::collections::HashSet;

/// Lists and maps inside one another; the deepest key of a spec lies at four.
const DEPTH_MAX: usize = 16;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// As written, escapes resolved; plain when it stood without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    /// Nothing: `null`, `~` or no text at all, without quotes.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// A list or map that is still being read.
enum Open {
    List(Place, Vec<Node>),
    Map {
        place: Place,
        entries: Vec<Entry>,
        seen: HashSet<String>,
        key: Option<(String, Place)>,
    },
}

impl Open {
    fn close(self) -> Node {
        match self {
            Self::List(place, nodes) => Node {
                place,
                value: Value::List(nodes),
            },
            Self::Map { place, entries, .. } => Node {
                place,
                value: Value::Map(entries),
            },
        }
    }
}

/// Reads as far as it goes: what was read of the document, and the problem that ended it.
pub(super) fn read(text: &str) -> (Option<Node>, Option<SpecProblem>) {
    let mut reader = Reader::default();
    let problem = reader.read(text).err();
    while let Some(open) = reader.open.pop() {
        // What is cut off is no problem of its own: the one that cut it is told.
        let _ = reader.take(open.close());
    }
    let empty = || SpecProblem::refused(Place { line: 1, column: 1 }, "the file is empty", None);
    let problem = problem.or_else(|| reader.root.is_none().then(empty));
    (reader.root, problem)
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    root: Option<Node>,
}

impl Reader {
    fn read(&mut self, text: &str) -> Result<(), SpecProblem> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let message = format!("this is not YAML: {}", error.info());
                SpecProblem::refused(place(error.marker()), message, None)
            })?;
            self.event(event, place(&span.start))?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, at: Place) -> Result<(), SpecProblem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a second document begins here";
                Err(SpecProblem::refused(
                    at,
                    message,
                    Some("write one document in a file"),
                ))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => {
                let message = "aliases are not allowed";
                Err(SpecProblem::refused(
                    at,
                    message,
                    Some("write the value here as well"),
                ))
            }
            Event::Scalar(text, style, _, tag) => {
                untagged(tag.is_some(), at)?;
                self.scalar(text.into_owned(), style == ScalarStyle::Plain, at)
            }
            Event::SequenceStart(_, tag) => {
                untagged(tag.is_some(), at)?;
                self.begin(Open::List(at, Vec::new()), at)
            }
            Event::MappingStart(_, tag) => {
                untagged(tag.is_some(), at)?;
                let map = Open::Map {
                    place: at,
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                };
                self.begin(map, at)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.take(open.close()),
                None => Ok(()),
            },
        }
    }

    fn begin(&mut self, open: Open, at: Place) -> Result<(), SpecProblem> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(no_word(at));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(SpecProblem::refused(at, "this is nested too deep", None));
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: String, plain: bool, at: Place) -> Result<(), SpecProblem> {
        let Some(Open::Map { seen, key, .. }) = self.open.last_mut() else {
            return self.take(Node {
                place: at,
                value: Value::Scalar { text, plain },
            });
        };
        if key.is_some() {
            return self.take(Node {
                place: at,
                value: Value::Scalar { text, plain },
            });
        }
        if plain && text == "<<" {
            let hint = Some("write the keys here as well");
            return Err(SpecProblem::refused(at, "merge keys are not allowed", hint));
        }
        if !seen.insert(text.clone()) {
            let message = format!("key `{text}` is there twice");
            return Err(SpecProblem::refused(at, message, None));
        }
        *key = Some((text, at));
        Ok(())
    }

    fn take(&mut self, node: Node) -> Result<(), SpecProblem> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, nodes)) => nodes.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some((key, place)) => entries.push(Entry { key, place, node }),
                None => return Err(no_word(node.place)),
            },
        }
        Ok(())
    }
}

fn no_word(at: Place) -> SpecProblem {
    SpecProblem::refused(at, "a key must be one word", None)
}

fn untagged(tagged: bool, at: Place) -> Result<(), SpecProblem> {
    if tagged {
        let hint = Some("leave it out; quotes make a text of anything");
        return Err(SpecProblem::refused(at, "tags are not allowed", hint));
    }
    Ok(())
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}
