//! The keys that leave a terminal session, also when the guest hangs.
//!
//! In raw mode Ctrl-C is a byte like any other, so one sequence must stay with this process. It is
//! searched in what is typed; a sequence that begins and does not go on is typed after all.

use std::str::FromStr;

use microagent_types::InvalidText;

/// A sequence of keys: `ctrl-]`, `ctrl-p,ctrl-q`, single characters, or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl DetachKeys {
    /// As a person writes them; nothing when they are switched off.
    pub(crate) fn shown(&self) -> Option<String> {
        let key = |byte: &u8| match byte {
            // The inverse of what a terminal does with Ctrl and a letter.
            0..32 => format!("ctrl-{}", char::from(byte + 64).to_ascii_lowercase()),
            _ => char::from(*byte).to_string(),
        };
        let keys: Vec<String> = self.0.iter().map(key).collect();
        (!keys.is_empty()).then(|| keys.join(","))
    }
}

/// Longest sequence; more could not be typed without a mistake.
const KEYS_MAX: usize = 8;

impl FromStr for DetachKeys {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || {
            InvalidText::new(
                "a key sequence",
                text,
                "write ctrl-] or ctrl-p,ctrl-q, or none",
            )
        };
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.filter(|keys| keys.len() <= KEYS_MAX)
            .map(Self)
            .ok_or_else(invalid)
    }
}

/// The byte that a terminal sends for a key.
fn key(text: &str) -> Option<u8> {
    let character = match text.strip_prefix("ctrl-") {
        Some(letter) => {
            let byte = single(letter)?.to_ascii_uppercase();
            // The control characters are the block of `@` to `_`, 64 lower (ASCII).
            return (b'@'..=b'_').contains(&byte).then_some(byte - 64);
        }
        None => single(text)?,
    };
    character.is_ascii_graphic().then_some(character)
}

fn single(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    }
}

/// What is left of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// For the guest.
    pub(crate) bytes: Vec<u8>,
    /// The sequence came; nothing after it counts.
    pub(crate) detached: bool,
}

/// Searches typed bytes for the sequence, across reads.
#[derive(Debug)]
pub(crate) struct DetachSearch {
    keys: DetachKeys,
    matched: usize,
}

impl DetachSearch {
    /// A search that has seen nothing.
    pub(crate) fn new(keys: DetachKeys) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes the next typed bytes.
    pub(crate) fn take(&mut self, typed: &[u8]) -> Typed {
        let keys = &self.keys.0;
        let mut bytes = Vec::with_capacity(typed.len());
        for &byte in typed {
            if keys.is_empty() {
                bytes.push(byte);
                continue;
            }
            // A prefix that does not go on is given back, and the byte may begin anew.
            while self.matched > 0 && keys[self.matched] != byte {
                bytes.push(keys[0]);
                let given_back = &keys[1..self.matched];
                self.matched = longest_prefix(keys, given_back);
                bytes.extend_from_slice(&given_back[..given_back.len() - self.matched]);
            }
            if keys[self.matched] == byte {
                self.matched += 1;
            } else {
                bytes.push(byte);
            }
            if self.matched == keys.len() {
                return Typed {
                    bytes,
                    detached: true,
                };
            }
        }
        Typed {
            bytes,
            detached: false,
        }
    }
}

/// How many bytes at the end of `text` are a beginning of `keys`.
fn longest_prefix(keys: &[u8], text: &[u8]) -> usize {
    (0..=text.len().min(keys.len() - 1))
        .rev()
        .find(|length| text.ends_with(&keys[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{DetachKeys, DetachSearch, Typed};

    fn keys(text: &str) -> DetachKeys {
        text.parse().unwrap()
    }

    fn typed(bytes: &[u8], detached: bool) -> Typed {
        Typed {
            bytes: bytes.to_vec(),
            detached,
        }
    }

    #[test]
    fn keys_are_control_characters_or_single_characters() {
        assert_eq!(keys("ctrl-]").0, [0x1d]);
        assert_eq!(keys("ctrl-p,ctrl-q").0, [0x10, 0x11]);
        assert_eq!(keys("ctrl-a,d").0, [1, b'd']);
        for shown in ["ctrl-]", "ctrl-p,ctrl-q", "ctrl-a,d"] {
            assert_eq!(keys(shown).shown().as_deref(), Some(shown));
        }
        assert_eq!(keys("none").shown(), None);
        assert!(keys("none").0.is_empty());
        for wrong in [
            "",
            "ctrl-",
            "ctrl-1x",
            "alt-x",
            "é",
            "ctrl-a,",
            "a,a,a,a,a,a,a,a,a",
        ] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_sequence_detaches_and_nothing_after_it_is_typed() {
        let mut search = DetachSearch::new(keys("ctrl-]"));
        assert_eq!(search.take(b"ab\x1dcd"), typed(b"ab", true));
    }

    #[test]
    fn a_sequence_may_come_in_two_reads() {
        let mut search = DetachSearch::new(keys("ctrl-p,ctrl-q"));
        assert_eq!(search.take(b"x\x10"), typed(b"x", false));
        assert_eq!(search.take(b"\x11"), typed(b"", true));
    }

    #[test]
    fn a_sequence_that_does_not_go_on_is_typed_after_all() {
        let mut search = DetachSearch::new(keys("ctrl-p,ctrl-q"));
        assert_eq!(search.take(b"\x10"), typed(b"", false));
        assert_eq!(search.take(b"a"), typed(b"\x10a", false));
        let mut search = DetachSearch::new(keys("a,a,b"));
        assert_eq!(search.take(b"aaab"), typed(b"a", true));
    }

    #[test]
    fn none_never_detaches() {
        let mut search = DetachSearch::new(keys("none"));
        assert_eq!(search.take(b"\x1d\x03"), typed(b"\x1d\x03", false));
    }
}
