//! The flags of every command, accepted before and after it.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use crate::printer::ColorChoice;

/// Heading under which help lists these flags.
const HEADING: &str = "Global flags";

/// The flags of every command.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Print one JSON document in place of text
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) json: bool,

    /// Where workspaces, images and kernels live [default: ~/.microagent, or MICROAGENT_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = HEADING)]
    pub(crate) state_dir: Option<PathBuf>,

    /// firecracker, qemu, apple-vf or windows-hyperv [default: the best of this host, or MICROAGENT_BACKEND]
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) backend: Option<String>,

    /// Supervisor executable in place of the one that is found
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::ExecutablePath, help_heading = HEADING)]
    pub(crate) supervisor: Option<PathBuf>,

    /// Log to stderr; twice for debug, three times for trace
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = HEADING)]
    pub(crate) verbose: u8,

    /// No notes and no progress; errors are always shown
    #[arg(short, long, global = true, help_heading = HEADING)]
    pub(crate) quiet: bool,

    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true, help_heading = HEADING)]
    pub(crate) color: ColorChoice,
}
