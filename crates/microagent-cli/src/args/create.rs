//! `create`: a workspace, prepared and not booted.

use std::ffi::OsString;

use clap::{Args, ValueHint};
use microagent_types::WorkspaceName;

use super::workspace::WorkspaceArgs;

/// A workspace, prepared and not booted.
#[derive(Debug, Args)]
#[command(
    override_usage = "microagent create [FLAGS] NAME --image SOURCE [-- COMMAND [ARG...]]",
    after_help = "\
Examples:
  microagent create web --image oci:./image
  microagent create dev --image rootfs:base.tar.gz --idle --profile small
  microagent create --file microagent.yaml
  microagent create job --image oci:./image --copy-in ./job:/srv/job -- python3 -m job"
)]
pub(crate) struct CreateArgs {
    /// Name of the workspace, unless --name or a spec file gives it
    pub(crate) name: Option<WorkspaceName>,

    /// The same as NAME
    #[arg(
        long = "name",
        value_name = "NAME",
        id = "name_flag",
        conflicts_with = "name",
        hide = true
    )]
    pub(crate) name_flag: Option<WorkspaceName>,

    /// In place of the image's command
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,

    /// Run no workload: the workspace stays up for exec
    #[arg(long, conflicts_with_all = ["command", "entrypoint"])]
    pub(crate) idle: bool,

    /// What the workspace is.
    #[command(flatten)]
    pub(crate) workspace: WorkspaceArgs,
}
