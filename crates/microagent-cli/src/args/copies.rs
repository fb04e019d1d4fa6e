//! Files that go with a new workspace: `SRC:/DST` into it, `GUEST:HOST` out of it.

use std::path::PathBuf;
use std::str::FromStr;

use microagent_types::{GuestPath, InvalidText};

/// A file or folder of this host, and what it becomes in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyInArg {
    pub(crate) source: PathBuf,
    pub(crate) target: GuestPath,
}

/// A file or folder of the guest, and where it goes on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyOutArg {
    pub(crate) source: GuestPath,
    pub(crate) target: PathBuf,
}

impl FromStr for CopyInArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        // The last one: paths of this host may have colons too.
        let at = text.rfind(":/").filter(|at| *at > 0).ok_or_else(|| {
            let hint = "write a path of this host and an absolute one of the guest: ./src:/work";
            InvalidText::new("files for a guest", text, hint)
        })?;
        Ok(Self {
            source: text[..at].into(),
            target: text[at + 1..].parse()?,
        })
    }
}

impl FromStr for CopyOutArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let sides = text.split_once(':');
        let sides = sides.filter(|(guest, host)| guest.starts_with('/') && !host.is_empty());
        let (guest, host) = sides.ok_or_else(|| {
            let hint = "write an absolute path of the guest and one of this host: /work/out:./out";
            InvalidText::new("files of a guest", text, hint)
        })?;
        Ok(Self {
            source: guest.parse()?,
            target: host.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CopyInArg, CopyOutArg};

    #[test]
    fn the_guests_side_is_absolute_and_the_hosts_may_have_colons() {
        let of = |text: &str| {
            let arg: CopyInArg = text.parse().ok()?;
            Some((arg.source.display().to_string(), arg.target.to_string()))
        };
        let pair = |source: &str, target: &str| Some((source.to_owned(), target.to_owned()));
        assert_eq!(of("./src:/work"), pair("./src", "/work"));
        assert_eq!(of("/a:/b:/c"), pair("/a:/b", "/c"));
        assert_eq!(of(r"C:\a:/c"), pair(r"C:\a", "/c"));
        for refused in ["./src", "./src:work", ":/work", ""] {
            assert_eq!(of(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_comes_out_names_the_guest_first() {
        let of = |text: &str| {
            let arg: CopyOutArg = text.parse().ok()?;
            Some((arg.source.to_string(), arg.target.display().to_string()))
        };
        let pair = |source: &str, target: &str| Some((source.to_owned(), target.to_owned()));
        assert_eq!(of("/work/out:./out"), pair("/work/out", "./out"));
        assert_eq!(of("/a:b:c"), pair("/a", "b:c"));
        for refused in ["./out:/work", "/work", "/work:", ""] {
            assert_eq!(of(refused), None, "{refused}");
        }
    }
}
