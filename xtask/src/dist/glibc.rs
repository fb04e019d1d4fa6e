//! Which C library the programs ask for: read from the programs, not from the machine that built them.
//!
//! A program asks for versions of symbols by name (`GLIBC_2.34`), so the newest name in it is the oldest library
//! that runs it. A release must run on the oldest Debian that is named in the README.

use anyhow::{Context, Result, bail};

use crate::install::Part;

/// That of Debian 12.
const NEWEST: Version = (2, 36);
const MARK: &[u8] = b"GLIBC_";

type Version = (u32, u32);

/// The newest version that any program asks for, as Debian writes it.
pub(super) fn needed(parts: &[Part]) -> Result<String> {
    let mut newest = (2, 0);
    for part in parts.iter().filter(|part| part.mode & 0o100 != 0) {
        let bytes = std::fs::read(&part.from)
            .with_context(|| format!("cannot read `{}`", part.from.display()))?;
        let version = newest_in(&bytes);
        if version > NEWEST {
            bail!(
                "`{}` asks for glibc {}.{}, and Debian 12 has {}.{}: build it on Debian 12",
                part.from.display(),
                version.0,
                version.1,
                NEWEST.0,
                NEWEST.1
            );
        }
        newest = newest.max(version);
    }
    Ok(format!("{}.{}", newest.0, newest.1))
}

fn newest_in(bytes: &[u8]) -> Version {
    bytes
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .filter_map(|(at, _)| version_at(&bytes[at + MARK.len()..]))
        .max()
        .unwrap_or((2, 0))
}

fn version_at(bytes: &[u8]) -> Option<Version> {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut numbers = text.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::newest_in;

    #[test]
    fn the_newest_name_counts_and_numbers_are_not_texts() {
        let program = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_";
        assert_eq!(newest_in(program), (2, 34));
        assert_eq!(newest_in(b"static"), (2, 0));
    }
}
