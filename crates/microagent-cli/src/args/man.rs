//! `man`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Manual pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent man | man -l -
  microagent man --out ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write one page for each command into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
}
