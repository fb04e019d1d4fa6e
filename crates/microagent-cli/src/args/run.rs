//! `run`: one command in a fresh workspace.
//!
//! The first word that is no flag ends the flags; every later word belongs to the guest, byte for
//! byte. What the words mean is settled in `commands/run`.

use std::ffi::OsString;

use clap::{Args, ValueHint};
use microagent_types::{Span, WorkspaceName};

use super::copies::CopyOutArg;
use super::session::SessionArgs;
use super::workspace::WorkspaceArgs;

/// One command in a fresh workspace.
#[derive(Debug, Args)]
#[command(
    override_usage = "microagent run [FLAGS] IMAGE [COMMAND [ARG...]]",
    after_help = "\
Examples:
  microagent run --copy-in ./src:/work --copy-out /work/out:./out oci:./image make -C /work
  echo hello | microagent run -i oci-archive:image.tar tr a-z A-Z
  microagent run -it docker-archive:image.tar sh
  microagent run -d --name web --publish 8080:80 rootfs:base.tar.gz httpd -f"
)]
pub(crate) struct RunArgs {
    /// The image, unless --image or a spec file gives it; then the command, in place of the image's own
    #[arg(value_name = "IMAGE", trailing_var_arg = true, num_args = 0.., value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<OsString>,

    /// Name of the workspace [default: run-WORD-WORD-HEX]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<WorkspaceName>,

    /// What the workspace is.
    #[command(flatten)]
    pub(crate) workspace: WorkspaceArgs,

    /// How the command is attached.
    #[command(flatten)]
    pub(crate) session: SessionArgs,

    /// Longest time for the boot [default: 60s, 300s when emulated]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub(crate) ready_timeout: Option<Span>,

    /// Copy this out when the command has ended, whatever its code
    #[arg(long, value_name = "GUEST:HOST")]
    pub(crate) copy_out: Vec<CopyOutArg>,

    /// Start the workspace, print its name and return: it stays up
    #[arg(
        short,
        long,
        conflicts_with_all = ["interactive", "tty", "timeout", "detach_keys", "output_limit", "copy_out", "rm"]
    )]
    pub(crate) detach: bool,

    /// Run no workload, with --detach: the workspace stays up for exec
    #[arg(long, conflicts_with = "entrypoint")]
    pub(crate) idle: bool,

    /// Keep the workspace, halted, after the command
    #[arg(long, conflicts_with = "rm")]
    pub(crate) keep: bool,

    /// Delete the workspace after the command, which happens anyway
    #[arg(long)]
    pub(crate) rm: bool,
}
