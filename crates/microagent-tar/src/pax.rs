//! Extended headers: records of `LENGTH KEY=VALUE\n`, where the length counts all of it.
//!
//! The length and nothing else says where a record ends: values are bytes and may hold line ends.

use crate::entry::Piece;
use crate::limits::{ATTRIBUTES_MAX, SPARSE_PIECES_MAX};
use crate::reader::{TarError, field};

/// What an extended header says about the next entry.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) modified: Option<(i64, u32)>,
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: Sparse,
}

/// The keys of the three forms of sparse files.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    version: Option<(u64, u64)>,
    path: Option<Vec<u8>>,
    size: Option<u64>,
    numbers: Vec<u64>,
    counted: bool,
}

/// What is known of a sparse file before its content.
#[derive(Debug)]
pub(crate) struct SparseFile {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) size: u64,
    pub(crate) pieces: Vec<Piece>,
}

impl Extensions {
    /// Parses the content of the extended header at `offset`.
    pub(crate) fn parse(mut bytes: &[u8], offset: u64) -> Result<Self, TarError> {
        let bad = || field(offset, "extended header");
        let mut extensions = Self::default();
        let mut major = None;
        let mut minor = 0;
        while !bytes.is_empty() && bytes[0] != 0 {
            let (record, rest) = record(bytes).ok_or_else(bad)?;
            bytes = rest;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                extensions.attribute(name, value, offset)?;
                continue;
            }
            // An empty value takes back what a general header said; we hold no general ones.
            if value.is_empty() {
                continue;
            }
            let sparse = &mut extensions.sparse;
            match key {
                b"path" => extensions.path = Some(text(value).ok_or_else(bad)?),
                b"linkpath" => extensions.link = Some(text(value).ok_or_else(bad)?),
                b"size" => extensions.size = Some(decimal(value).ok_or_else(bad)?),
                b"uid" => extensions.uid = Some(id(value).ok_or_else(bad)?),
                b"gid" => extensions.gid = Some(id(value).ok_or_else(bad)?),
                b"mtime" => extensions.modified = Some(time(value).ok_or_else(bad)?),
                b"GNU.sparse.major" => major = Some(decimal(value).ok_or_else(bad)?),
                b"GNU.sparse.minor" => minor = decimal(value).ok_or_else(bad)?,
                b"GNU.sparse.name" => sparse.path = Some(text(value).ok_or_else(bad)?),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                    sparse.size = Some(decimal(value).ok_or_else(bad)?);
                }
                b"GNU.sparse.numblocks" => sparse.counted = true,
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    sparse.push(decimal(value).ok_or_else(bad)?, offset)?;
                }
                b"GNU.sparse.map" => {
                    for number in value.split(|byte| *byte == b',') {
                        sparse.push(decimal(number).ok_or_else(bad)?, offset)?;
                    }
                }
                _ => {}
            }
        }
        extensions.sparse.version = major.map(|major| (major, minor));
        Ok(extensions)
    }

    /// The last value of a name counts.
    fn attribute(&mut self, name: &[u8], value: &[u8], offset: u64) -> Result<(), TarError> {
        self.attributes.retain(|(other, _)| other != name);
        if self.attributes.len() == ATTRIBUTES_MAX {
            let limit = ATTRIBUTES_MAX as u64;
            return Err(TarError::TooLong {
                offset,
                what: "list of attributes",
                limit,
            });
        }
        self.attributes.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

impl Sparse {
    fn push(&mut self, number: u64, offset: u64) -> Result<(), TarError> {
        if self.numbers.len() == 2 * SPARSE_PIECES_MAX {
            let limit = SPARSE_PIECES_MAX as u64;
            return Err(TarError::TooLong {
                offset,
                what: "sparse map",
                limit,
            });
        }
        self.numbers.push(number);
        Ok(())
    }

    /// The form whose map stands in front of the content.
    pub(crate) fn in_content(&self, offset: u64) -> Result<Option<SparseFile>, TarError> {
        match self.version {
            Some((1, 0)) => self.file(offset).map(Some),
            None | Some((0, _)) => Ok(None),
            Some(_) => Err(field(offset, "sparse version")),
        }
    }

    /// The forms whose map stands in the extended header.
    pub(crate) fn in_header(&self, offset: u64) -> Result<Option<SparseFile>, TarError> {
        if self.numbers.is_empty() && !self.counted {
            return Ok(None);
        }
        self.file(offset).map(Some)
    }

    fn file(&self, offset: u64) -> Result<SparseFile, TarError> {
        let (numbers, []) = self.numbers.as_chunks::<2>() else {
            return Err(field(offset, "sparse map"));
        };
        Ok(SparseFile {
            path: self.path.clone(),
            size: self.size.ok_or(field(offset, "sparse size"))?,
            pieces: numbers
                .iter()
                .map(|[offset, len]| Piece {
                    offset: *offset,
                    len: *len,
                })
                .collect(),
        })
    }
}

/// The first record without its length and its line end, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space])?).ok()?;
    if len > bytes.len() || len < space + 2 {
        return None;
    }
    let (record, rest) = bytes.split_at(len);
    Some((record[space + 1..].strip_suffix(b"\n")?, rest))
}

pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn id(text: &[u8]) -> Option<u32> {
    u32::try_from(decimal(text)?).ok()
}

/// A path or a target: bytes, but no NUL.
fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.contains(&0)).then(|| value.to_vec())
}

/// Seconds, perhaps negative, perhaps with a fraction.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanoseconds = 0;
    for position in 0..9 {
        let digit = fraction
            .get(position)
            .map_or(0, |digit| u32::from(digit - b'0'));
        nanoseconds = nanoseconds * 10 + digit;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        // Nanoseconds count upwards, before 1970 too.
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_line_ends_and_equal_signs() {
        let value = b"a\n12 path=evil\n\0=";
        let body = [b"SCHILY.xattr.user.odd=".as_slice(), value, b"\n"].concat();
        // The length counts itself: two digits, a space, the rest.
        let text = [format!("{} ", body.len() + 3).as_bytes(), &body].concat();
        let parsed = Extensions::parse(&text, 0).unwrap();
        assert_eq!(parsed.path, None);
        assert_eq!(parsed.attributes, [(b"user.odd".to_vec(), value.to_vec())]);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for text in [
            "5 a=b\n",
            "7 a=b\n",
            "0 a=b\n",
            "6 a=b",
            "99999999999999999999 a=b\n",
            " a=b\n",
            "6a=b\n",
            "-1 a=b\n",
            "6 aab\n",
        ] {
            assert!(Extensions::parse(text.as_bytes(), 0).is_err(), "{text:?}");
        }
        assert!(Extensions::parse(b"6 a=b\n", 0).is_ok());
    }

    #[test]
    fn times_may_be_negative_and_have_fractions() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12.0000000019"), Some((12, 1)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-1"), Some((-1, 0)));
        assert_eq!(time(b"1.x"), None);
        assert_eq!(time(b""), None);
    }
}
