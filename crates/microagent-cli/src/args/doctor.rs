//! `doctor` and its alias for the raw facts, `host`.

use clap::Args;

/// What works here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent doctor
  microagent doctor --backend qemu
  microagent doctor --json")]
pub(crate) struct DoctorArgs {}

/// The raw facts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent host
  microagent host --json")]
pub(crate) struct HostArgs {}
