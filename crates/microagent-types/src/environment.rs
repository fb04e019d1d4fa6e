//! Environment of guest processes: checked names, values without NUL.

use crate::text_form::{InvalidText, checked_string};
use std::collections::BTreeMap;

/// The name of a guest environment variable: `[A-Za-z_][A-Za-z0-9_.-]*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvName(String);

/// Most bytes of names and values of one environment together.
pub const ENVIRONMENT_BYTES_MAX: usize = 1 << 20;

impl EnvName {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let begins = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let known = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if begins && known {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "the name of an environment variable",
            text,
            "use letters, digits, `_`, `.` and `-`, not beginning with a digit",
        ))
    }
}

checked_string!(EnvName);

/// Variables by name. Values may be anything without NUL; use [`Environment::set`] to add them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    variables: BTreeMap<EnvName, String>,
    /// Of all names and values, so that a variable more costs no look at the others.
    size_bytes: usize,
}

impl Environment {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one variable.
    ///
    /// # Errors
    /// When the value holds a NUL or the whole would pass [`ENVIRONMENT_BYTES_MAX`]; nothing is
    /// changed then.
    pub fn set(&mut self, name: EnvName, value: String) -> Result<(), InvalidText> {
        if value.contains('\0') {
            return Err(InvalidText::new(
                "an environment value",
                name.as_str(),
                "a value holds no NUL",
            ));
        }
        let replaced = self
            .variables
            .get(&name)
            .map_or(0, |old| name.as_str().len() + old.len());
        let size_bytes = self.size_bytes - replaced + name.as_str().len() + value.len();
        if size_bytes > ENVIRONMENT_BYTES_MAX {
            return Err(InvalidText::new(
                "an environment",
                name.as_str(),
                "names and values hold at most 1 MiB",
            ));
        }
        self.size_bytes = size_bytes;
        self.variables.insert(name, value);
        Ok(())
    }

    /// Takes every variable of `over`, which wins.
    ///
    /// # Errors
    /// When the whole passes [`ENVIRONMENT_BYTES_MAX`].
    pub fn merge(&mut self, over: &Self) -> Result<(), InvalidText> {
        over.variables
            .iter()
            .try_for_each(|(name, value)| self.set(name.clone(), value.clone()))
    }

    /// The value of one variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(key, _)| key.as_str() == name)
            .map(|(_, value)| value.as_str())
    }

    /// All variables by name.
    pub fn iter(&self) -> impl Iterator<Item = (&EnvName, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name, value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.variables.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }
}

impl serde::Serialize for Environment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.variables.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Environment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<EnvName, String>::deserialize(deserializer)?;
        let mut environment = Self::new();
        for (name, value) in map {
            environment
                .set(name, value)
                .map_err(serde::de::Error::custom)?;
        }
        Ok(environment)
    }
}

#[cfg(test)]
mod tests {
    use super::{EnvName, Environment};

    fn name(text: &str) -> EnvName {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_those_that_shells_and_services_use() {
        for text in ["A", "_x", "a.b-c", "PATH"] {
            assert!(text.parse::<EnvName>().is_ok());
        }
        for text in ["", "1A", "A B", "A=B", "ä"] {
            assert!(text.parse::<EnvName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_later_value_wins_and_nul_is_refused() {
        let mut environment = Environment::new();
        environment.set(name("A"), "1".into()).unwrap();
        environment.set(name("A"), "2".into()).unwrap();
        assert_eq!(environment.get("A"), Some("2"));
        assert!(environment.set(name("B"), "x\0".into()).is_err());
        assert_eq!(environment.len(), 1);
    }

    #[test]
    fn the_whole_is_bounded() {
        let mut environment = Environment::new();
        environment
            .set(name("A"), "x".repeat((1 << 20) - 1))
            .unwrap();
        assert!(environment.set(name("B"), String::new()).is_err());
        environment.set(name("A"), "small".into()).unwrap();
        assert!(environment.set(name("B"), String::new()).is_ok());
    }
}
