//! `connect`: a terminal in a running workspace.

use clap::Args;
use microagent_types::{GuestPath, Span, WorkspaceName};

use crate::detach_keys::DetachKeys;

/// A shell, or the serial console.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent connect web
  microagent connect web --send 'uname -a'
  microagent connect --serial web")]
pub(crate) struct ConnectArgs {
    /// Which workspace
    pub(crate) name: WorkspaceName,

    /// The shell [default: the user's login shell, else /bin/sh]
    #[arg(long, value_name = "PATH", conflicts_with = "serial")]
    pub(crate) shell: Option<GuestPath>,

    /// Who runs it, by name or number [default: the workspace's]
    #[arg(short, long, value_name = "USER[:GROUP]", conflicts_with = "serial")]
    pub(crate) user: Option<String>,

    /// Where it runs; must exist [default: the workspace's]
    #[arg(
        short = 'w',
        long,
        alias = "workdir",
        value_name = "PATH",
        conflicts_with = "serial"
    )]
    pub(crate) cwd: Option<GuestPath>,

    /// Attach to the serial console in place of a new shell; shared by all who attach
    #[arg(long)]
    pub(crate) serial: bool,

    /// Run one line in a new shell, print its output and return its code
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub(crate) send: Option<String>,

    /// Longest time for --send; 0 for no limit
    #[arg(
        long,
        value_name = "DUR",
        default_value = "30s",
        allow_hyphen_values = true
    )]
    pub(crate) timeout: Span,

    /// The keys that leave the session; none switches them off
    #[arg(long, value_name = "KEYS", default_value = "ctrl-]")]
    pub(crate) detach_keys: DetachKeys,
}
