//! `doctor` and its alias for the raw facts, `host`.

use clap::Args;

/// What works here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent doctor
  microagent doctor --fix
  microagent doctor --json")]
pub(crate) struct DoctorArgs {
    /// Put right what needs no privileges: the mode of the state directory, a missing kernel
    #[arg(long)]
    pub(crate) fix: bool,
}

/// The raw facts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent host
  microagent host --json")]
pub(crate) struct HostArgs {}
