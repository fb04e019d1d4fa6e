//! A JSON document as a tree that keeps the order of its keys, and what one tree has beyond another.
//!
//! An older program that rewrites a record of a newer one must not lose what it does not know. So
//! the raw tree is kept beside the typed value; on writing, what was unknown is put back where it
//! stood. A document with the same key twice is refused, since two readers would read two values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::{Number, Value};

/// Objects and arrays inside each other.
const DEPTH_MAX: usize = 32;

/// One value of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    Leaf(Value),
}

impl Tree {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let tree = Reader { depth: 0 }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(tree)
    }

    /// The value of a key, when this is an object that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Removes a key from an object.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Self::Object(entries) = self {
            entries.retain(|(name, _)| name != key);
        }
    }

    /// What `self` has and `known` lacks, at every level. `None` when that is nothing. A null is
    /// the same as absent.
    pub(crate) fn beyond(&self, known: &Self) -> Option<Self> {
        match (self, known) {
            (Self::Object(own), Self::Object(_)) => {
                let extra: Vec<_> = own
                    .iter()
                    .filter(|(_, value)| *value != Self::Leaf(Value::Null))
                    .filter_map(|(key, value)| match known.get(key) {
                        Some(known) => value.beyond(known).map(|extra| (key.clone(), extra)),
                        None => Some((key.clone(), value.clone())),
                    })
                    .collect();
                (!extra.is_empty()).then_some(Self::Object(extra))
            }
            (Self::Array(own), Self::Array(known)) if own.len() == known.len() => {
                let extra: Vec<Option<Self>> = own
                    .iter()
                    .zip(known)
                    .map(|(own, known)| own.beyond(known))
                    .collect();
                extra.iter().any(Option::is_some).then(|| {
                    let none = || Self::Object(Vec::new());
                    Self::Array(
                        extra
                            .into_iter()
                            .map(|extra| extra.unwrap_or_else(none))
                            .collect(),
                    )
                })
            }
            _ => None,
        }
    }

    /// Puts back what [`Tree::beyond`] found. Below the top, what belonged to an object that is
    /// gone, or to a list of another length, or to an object with another `id`, goes with it.
    pub(crate) fn put_back(&mut self, extra: &Self) {
        match (self, extra) {
            (Self::Object(own), Self::Object(extra)) => {
                for (key, value) in extra {
                    match own.iter_mut().find(|(name, _)| name == key) {
                        Some((_, own)) => own.put_back(value),
                        None => own.push((key.clone(), value.clone())),
                    }
                }
            }
            (Self::Array(own), Self::Array(extra)) if own.len() == extra.len() => {
                for (own, extra) in own.iter_mut().zip(extra) {
                    own.put_back(extra);
                }
            }
            _ => {}
        }
    }
}

impl serde::Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Leaf(value) => value.serialize(serializer),
        }
    }
}

struct Reader {
    depth: usize,
}

impl Reader {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Tree;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number without end"))?;
        Ok(Tree::Leaf(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` stands twice"
                )));
            }
            let value = map.next_value_seed(self.deeper()?)?;
            entries.push((key, value));
        }
        Ok(Tree::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::parse(text.as_bytes()).unwrap()
    }

    fn text(tree: &Tree) -> String {
        serde_json::to_string(tree).unwrap()
    }

    #[test]
    fn a_tree_keeps_its_order() {
        let json = r#"{"z":1,"a":[{"y":-2,"b":null},1.5,"t"],"m":true}"#;
        assert_eq!(text(&tree(json)), json);
    }

    #[test]
    fn the_same_key_twice_and_too_much_depth_are_refused() {
        assert!(Tree::parse(br#"{"a":1,"a":1}"#).is_err());
        assert!(Tree::parse(br#"{"b":{"a":1,"a":1}}"#).is_err());
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Tree::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(Tree::parse(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(Tree::parse(b"{} {}").is_err());
    }

    #[test]
    fn what_was_unknown_is_put_back_at_every_level() {
        let raw = tree(r#"{"a":1,"new":{"x":1},"b":{"c":2,"d":3},"l":[{"k":1,"n":2}],"z":null}"#);
        let known = tree(r#"{"a":1,"b":{"c":2},"l":[{"k":1}]}"#);
        let extra = raw.beyond(&known).unwrap();
        assert_eq!(text(&extra), r#"{"new":{"x":1},"b":{"d":3},"l":[{"n":2}]}"#);
        let mut rewritten = tree(r#"{"a":9,"b":{"c":7},"l":[{"k":5}]}"#);
        rewritten.put_back(&extra);
        assert_eq!(
            text(&rewritten),
            r#"{"a":9,"b":{"c":7,"d":3},"l":[{"k":5,"n":2}],"new":{"x":1}}"#
        );
        assert_eq!(known.beyond(&known), None);
    }

    #[test]
    fn what_belonged_to_an_entry_that_is_gone_goes_with_it() {
        let extra = tree(r#"{"l":[{"n":2}]}"#);
        let mut rewritten = tree(r#"{"l":[]}"#);
        rewritten.put_back(&extra);
        assert_eq!(text(&rewritten), r#"{"l":[]}"#);
    }
}
