//! Which crates are checked for which system: a reading of the kind column of `ARCHITECTURE.md`.

use std::fmt;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::places::Places;
use crate::tidy::kinds;

/// A system that no machine here runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// macOS on Apple silicon.
    Macos,
    /// Windows.
    Windows,
}

impl System {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Macos, Self::Windows];

    /// The compiler's word for it.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Macos => "aarch64-apple-darwin",
            Self::Windows => "x86_64-pc-windows-gnu",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Macos => "macOS",
            Self::Windows => "Windows",
        })
    }
}

/// A crate to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Its package.
    pub(crate) package: String,
}

/// The crates that are for a system, in the order of the table.
pub(crate) fn of(places: &Places, system: System) -> Result<Vec<Subject>> {
    let path = places.root.join("ARCHITECTURE.md");
    let page = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let subjects = select(&kinds(&page), system);
    if subjects.is_empty() {
        bail!("`{}` has no table of crates", path.display());
    }
    Ok(subjects)
}

/// Pure and host crates are for every system; those of one system compile on all others, where they
/// say that the host is wrong.
fn select(kinds: &[(String, Vec<String>)], _system: System) -> Vec<Subject> {
    kinds
        .iter()
        .filter(|(_, kinds)| {
            let is = |word: &str| kinds.iter().any(|kind| kind == word);
            !is("planned") && (is("pure") || is("host") || is("mac") || is("win"))
        })
        .map(|(package, _)| Subject {
            package: package.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_linux_the_guest_or_nobody_yet_is_left_out() {
        let page = "<!-- tidy:dependencies -->\n| crate | kind | one line | may use |\n|---|---|---|---|\n\
                    | `a` | pure | x | – |\n| `b` | linux | x | – |\n| `c` | mac, planned | x | – |\n\
                    | `d` | win | x | – |\n| `e` | host | x | – |\n| `f` | guest | x | – |\n\
                    | `g` | dev | x | – |\n<!-- /tidy:dependencies -->\n";
        let names = |system| {
            select(&kinds(page), system)
                .into_iter()
                .map(|subject| subject.package)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(System::Windows), ["a", "d", "e"]);
        assert_eq!(names(System::Macos), ["a", "d", "e"]);
    }
}
