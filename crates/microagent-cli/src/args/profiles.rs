//! `profiles`.

use clap::Args;

/// Memory, CPUs and disk by name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent profiles
  microagent profiles --json")]
pub(crate) struct ProfilesArgs {}
