//! `run`: one command in a fresh workspace.
//!
//! The first word that is no flag ends the flags; every later word belongs to the guest, byte for
//! byte. What the words mean is settled in `commands/run/settings.rs`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueHint};
use microagent_types::{
    ByteSize, GuestPath, ImageSource, SignalName, Span, VcpuCount, WorkspaceName,
};
use microagent_workspace::Profile;

use super::network::NetworkArgs;
use crate::detach_keys::DetachKeys;

const SIZE: &str = "Size of the workspace";
const COMMAND: &str = "The command";
const SESSION: &str = "Streams and limits";

/// One command in a fresh workspace.
#[derive(Debug, Args)]
#[command(
    override_usage = "microagent run [FLAGS] IMAGE [COMMAND [ARG...]]",
    after_help = "\
Examples:
  microagent run oci:./image uname -a
  echo hello | microagent run -i oci-archive:image.tar tr a-z A-Z
  microagent run -it docker-archive:image.tar sh
  microagent run --timeout 5s --json rootfs:base.tar.gz sleep 60"
)]
pub(crate) struct RunArgs {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:FILE.tar or the
    /// sha256: digest of a stored image; then the command, in place of the image's own
    #[arg(value_name = "IMAGE", trailing_var_arg = true, num_args = 0.., value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<OsString>,

    /// The image; the first word then is the command
    #[arg(long, value_name = "SOURCE")]
    pub(crate) image: Option<ImageSource>,

    /// Name of the workspace [default: run-WORD-WORD-HEX]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<WorkspaceName>,

    /// tiny, small, medium or large: see `microagent profiles`
    #[arg(long, value_name = "NAME", default_value = "medium", value_parser = profile_parser(), hide_possible_values = true, help_heading = SIZE)]
    pub(crate) profile: Profile,

    /// Memory, for example 512M [default: the profile's]
    #[arg(short, long, value_name = "SIZE", help_heading = SIZE)]
    pub(crate) memory: Option<ByteSize>,

    /// Virtual CPUs, 1 to 32 [default: the profile's]
    #[arg(long, value_name = "N", help_heading = SIZE)]
    pub(crate) cpus: Option<VcpuCount>,

    /// Size of the root disk, which is sparse [default: the profile's]
    #[arg(long, value_name = "SIZE", help_heading = SIZE)]
    pub(crate) disk_size: Option<ByteSize>,

    /// A variable of the command; without a value that of this process
    #[arg(short, long, value_name = "KEY[=VALUE]", help_heading = COMMAND)]
    pub(crate) env: Vec<String>,

    /// A file of such lines; flags win over files, later files over earlier
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = COMMAND)]
    pub(crate) env_file: Vec<PathBuf>,

    /// In place of the image's entrypoint and its command; "" clears it
    #[arg(long, value_name = "WORD", help_heading = COMMAND)]
    pub(crate) entrypoint: Option<String>,

    /// Who runs it, by name or number [default: the image's, else root]
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = COMMAND)]
    pub(crate) user: Option<String>,

    /// Where it runs; created when missing [default: the image's, else /]
    #[arg(short, long, value_name = "PATH", help_heading = COMMAND)]
    pub(crate) workdir: Option<GuestPath>,

    /// Host name of the guest [default: the name of the workspace]
    #[arg(long, value_name = "NAME", help_heading = COMMAND)]
    pub(crate) hostname: Option<WorkspaceName>,

    /// What asks it to stop [default: the image's, else TERM]
    #[arg(long, value_name = "SIG", help_heading = COMMAND)]
    pub(crate) stop_signal: Option<SignalName>,

    /// A label of the workspace; not sent to the guest
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,

    /// Network, published ports, mediation.
    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// A kernel in place of the installed one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) kernel: Option<PathBuf>,

    /// Pass stdin to the command; without it the command reads end of file
    #[arg(short, long, help_heading = SESSION)]
    pub(crate) interactive: bool,

    /// Give the command a terminal; stdout and stderr become one
    #[arg(short, long, help_heading = SESSION)]
    pub(crate) tty: bool,

    /// The keys that end the session, with -it; none switches them off
    #[arg(long, value_name = "KEYS", default_value = "ctrl-]", help_heading = SESSION)]
    pub(crate) detach_keys: DetachKeys,

    /// Keep the workspace, halted, after the command
    #[arg(long, conflicts_with = "rm")]
    pub(crate) keep: bool,

    /// Delete the workspace after the command, which happens anyway
    #[arg(long)]
    pub(crate) rm: bool,

    /// Longest time for the command alone; 0 for no limit
    #[arg(long, value_name = "DUR", default_value = "0", allow_hyphen_values = true, help_heading = SESSION)]
    pub(crate) timeout: Span,

    /// Longest time for the boot [default: 60s, 300s when emulated]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true, help_heading = SESSION)]
    pub(crate) ready_timeout: Option<Span>,

    /// Bytes kept of each stream with --json; the rest is counted and dropped
    #[arg(long, value_name = "SIZE", default_value = "10M", help_heading = SESSION)]
    pub(crate) output_limit: ByteSize,
}

/// Profiles by name, so that a misspelt one can be answered with the nearest.
fn profile_parser() -> impl clap::builder::TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::as_str))
        .map(|name| name.parse().expect("only names of profiles get here"))
}
