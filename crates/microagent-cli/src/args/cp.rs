//! `cp`: files into a workspace and out of it.

use std::ffi::OsString;
use std::str::FromStr;

use clap::{Args, ValueHint};
use microagent_types::{ByteSize, InvalidText, Span};

/// Source, target, and how.
#[derive(Debug, Args)]
#[command(
    override_usage = "microagent cp [FLAGS] SRC DST",
    after_help = "\
Examples:
  microagent cp ./site web:/srv/
  microagent cp web:/etc/hostname ./hostname
  microagent cp web:/var/log - | tar t
  tar c . | microagent cp - web:/srv"
)]
pub(crate) struct CpArgs {
    /// NAME:/path or a path of this host; SRC/. is what a folder holds, - a tar on stdin
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    pub(crate) source: OsString,

    /// NAME:/path or a path of this host; - writes a tar to stdout
    #[arg(value_name = "DST", value_hint = ValueHint::AnyPath)]
    pub(crate) target: OsString,

    /// Keep owner and group too, by number; out of a guest only as root
    #[arg(short, long)]
    pub(crate) archive: bool,

    /// Copy what links in SRC on this host point to
    #[arg(short = 'L', long)]
    pub(crate) follow_links: bool,

    /// Owner in the guest [default: 0:0]
    #[arg(long, value_name = "UID[:GID]", conflicts_with = "archive")]
    pub(crate) chown: Option<OwnerArg>,

    /// Most bytes to copy out; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value = "16G")]
    pub(crate) limit: LimitArg,

    /// Longest wait for the guest of a workspace that has to be booted [default: 60s, 300s emulated]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub(crate) ready_timeout: Option<Span>,
}

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnerArg {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl FromStr for OwnerArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || InvalidText::new("an owner", text, "write two numbers: 1000:1000");
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        // The largest number means nobody to the kernel.
        let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
        match (number(uid), number(gid)) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
            _ => Err(invalid()),
        }
    }
}

/// A size, or `0` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitArg(pub(crate) Option<ByteSize>);

impl FromStr for LimitArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        if text == "0" {
            return Ok(Self(None));
        }
        text.parse().map(|size| Self(Some(size)))
    }
}
