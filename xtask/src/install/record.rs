//! What an installation put under its prefix: a file of the installation itself.
//!
//! ```text
//! folder libexec/kernels
//! file 9f86d0…c15b bin/microagent
//! ```
//!
//! A prefix such as `~/.local` is shared with others, so only what is written here, and is still what it was, may
//! be taken away again. The record is written before the first file of an installation and once more after the
//! last, so one that is cut off is known as well. The file is read as a stranger's: no line of it leads out of
//! the prefix.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

/// Where it lies below the prefix.
pub(crate) const PLACE: &str = "libexec/microagent-installed.txt";

/// Files with their SHA-256, and folders that were made for them, all below the prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Each with what it hashes to; a file may have been several.
    pub(crate) files: BTreeSet<(PathBuf, String)>,
    /// The outer ones first.
    pub(crate) folders: BTreeSet<PathBuf>,
}

impl Record {
    /// The record below a prefix; an empty one when nothing is installed there.
    pub(crate) fn read(prefix: &Path) -> Result<Self> {
        let path = prefix.join(PLACE);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                Self::parse(&text).with_context(|| format!("`{}` is damaged", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Both as one.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            files: self.files.union(&other.files).cloned().collect(),
            folders: self.folders.union(&other.folders).cloned().collect(),
        }
    }

    /// Whether nothing is installed.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The paths of the files, each once.
    pub(crate) fn paths(&self) -> BTreeSet<&Path> {
        self.files.iter().map(|(path, _)| path.as_path()).collect()
    }

    /// Whether a file below the prefix is what was put there; none when it is gone.
    pub(crate) fn is_ours(&self, prefix: &Path, path: &Path) -> Result<Option<bool>> {
        let there = prefix.join(path);
        if std::fs::symlink_metadata(&there).is_err() {
            return Ok(None);
        }
        let found = sum_of(&there)?;
        Ok(Some(self.files.contains(&(path.to_owned(), found))))
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        let mut text =
            "# What `cargo xtask install` put here; `cargo xtask uninstall` takes it away.\n"
                .to_owned();
        for folder in &self.folders {
            let _ = writeln!(text, "folder {}", folder.display());
        }
        for (path, sum) in &self.files {
            let _ = writeln!(text, "file {sum} {}", path.display());
        }
        text
    }

    fn parse(text: &str) -> Result<Self> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            match words.as_slice() {
                ["folder", ..] => {
                    let path = line.strip_prefix("folder ").unwrap_or_default();
                    record.folders.insert(below(path)?);
                }
                ["file", sum, path] if sum.len() == 64 => {
                    record.files.insert((below(path)?, (*sum).to_owned()));
                }
                _ => bail!("`{line}` is no line of it"),
            }
        }
        Ok(record)
    }
}

/// A path that stays below the prefix.
fn below(path: &str) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    let stays = path
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if !stays || path.as_os_str().is_empty() {
        bail!("`{}` is no place below the prefix", path.display());
    }
    Ok(path)
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn sum_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            files: [(PathBuf::from("bin/a b"), "0".repeat(64))].into(),
            folders: [PathBuf::from("bin"), PathBuf::from("lib x/y")].into(),
        };
        assert_eq!(Record::parse(&record.text()).unwrap(), record);
    }

    #[test]
    fn no_line_leads_out_of_the_prefix() {
        let sum = "0".repeat(64);
        for path in ["/etc/passwd", "../x", "a/../../x", "./x", ""] {
            let line = format!("file {sum} {path}\n");
            assert!(Record::parse(&line).is_err(), "{path}");
            assert!(
                Record::parse(&format!("folder {path}\n")).is_err(),
                "{path}"
            );
        }
        assert!(Record::parse("file 12 a\n").is_err());
        assert!(Record::parse("everything\n").is_err());
    }
}
