//! `logs`: what the serial console has shown.

use std::str::FromStr;

use clap::Args;
use microagent_types::{InvalidText, WorkspaceName};

use super::moment::MomentArg;

/// The console of a workspace.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent logs web
  microagent logs --follow --tail 50 web
  microagent logs --since 10m --timestamps web
  microagent logs --boot last --json web")]
pub(crate) struct LogsArgs {
    /// Which workspace
    pub(crate) name: WorkspaceName,

    /// Go on until the VM ends
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// The last N lines only
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<usize>,

    /// Only what came then or later: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<MomentArg>,

    /// One boot only, by its number, or the last
    #[arg(long, value_name = "N|last")]
    pub(crate) boot: Option<BootArg>,

    /// The host's time before each line
    #[arg(long, conflicts_with = "raw")]
    pub(crate) timestamps: bool,

    /// Bytes as captured, nothing escaped
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Which boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BootArg {
    /// Counted from 1.
    Number(u32),
    /// The last one.
    Last,
}

impl FromStr for BootArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        if text == "last" {
            return Ok(Self::Last);
        }
        let number = text.parse().ok().filter(|number| *number > 0);
        number
            .map(Self::Number)
            .ok_or_else(|| InvalidText::new("a boot", text, "write a number from 1 on, or last"))
    }
}
