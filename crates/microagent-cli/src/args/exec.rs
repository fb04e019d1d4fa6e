//! `exec`: a command in a running workspace. As in `run`, the first word that is no flag ends them.

use std::ffi::OsString;

use clap::{Args, ValueHint};
use microagent_types::GuestPath;

use super::environment::EnvironmentArgs;
use super::session::SessionArgs;

const COMMAND: &str = "The command";

/// A command in a running workspace.
#[derive(Debug, Args)]
#[command(
    override_usage = "microagent exec [FLAGS] NAME [--] COMMAND [ARG...]",
    after_help = "\
Examples:
  microagent exec web ls -l /
  microagent exec -it web bash
  echo hello | microagent exec -i web tee /srv/hello
  microagent exec --json web cat /etc/os-release"
)]
pub(crate) struct ExecArgs {
    /// The workspace, then the command; no shell is put in between
    #[arg(value_name = "NAME", trailing_var_arg = true, num_args = 0.., value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<OsString>,

    /// Variables of the command.
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,

    /// Who runs it, by name or number [default: the workspace's]
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = COMMAND)]
    pub(crate) user: Option<String>,

    /// Where it runs; must exist [default: the workspace's]
    #[arg(short = 'w', long, alias = "workdir", value_name = "PATH", help_heading = COMMAND)]
    pub(crate) cwd: Option<GuestPath>,

    /// How the command is attached.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}
