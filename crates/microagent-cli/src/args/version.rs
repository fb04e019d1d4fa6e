//! `version`.

use clap::Args;

/// Which microagent this is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent version
  microagent version --json")]
pub(crate) struct VersionArgs {}
