//! The flags about a command's streams and limits: shared by `run` and `exec`.

use clap::Args;
use microagent_types::{ByteSize, Span};

use crate::detach_keys::DetachKeys;

const HEADING: &str = "Streams and limits";

/// How a command is attached to this process.
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    /// Pass stdin to the command; without it the command reads end of file
    #[arg(short, long, help_heading = HEADING)]
    pub(crate) interactive: bool,

    /// Give the command a terminal; stdout and stderr become one
    #[arg(short, long, help_heading = HEADING)]
    pub(crate) tty: bool,

    /// The keys that end the session, with -it; none switches them off
    #[arg(long, value_name = "KEYS", default_value = "ctrl-]", help_heading = HEADING)]
    pub(crate) detach_keys: DetachKeys,

    /// Longest time for the command alone; 0 for no limit
    #[arg(
        long,
        value_name = "DUR",
        default_value = "0",
        allow_hyphen_values = true,
        help_heading = HEADING
    )]
    pub(crate) timeout: Span,

    /// Bytes kept of each stream with --json; the rest is counted and dropped
    #[arg(long, value_name = "SIZE", default_value = "10M", help_heading = HEADING)]
    pub(crate) output_limit: ByteSize,
}
