//! `top`.

use clap::Args;
use microagent_types::Span;

/// Show live what every workspace uses: CPU, memory, disk, connections
///
/// On a terminal the picture is drawn anew until q is typed; elsewhere, and with --json, one sample is printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent top
  microagent top --interval 5s
  microagent top --json")]
pub(crate) struct TopArgs {
    /// Between two looks, at least 200ms
    #[arg(long, value_name = "DUR", default_value = "2s")]
    pub(crate) interval: Span,
}
