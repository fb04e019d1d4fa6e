//! The flags that say what a new workspace is: shared by `run` and `create`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use microagent_types::{
    ByteSize, DiskSpec, GuestPath, ImageSource, RegistryHost, SignalName, VcpuCount, WorkspaceName,
};
use microagent_workspace::{Profile, PullPolicy};

use super::copies::CopyInArg;
use super::environment::EnvironmentArgs;
use super::network::NetworkArgs;

const SIZE: &str = "Size of the workspace";
const COMMAND: &str = "The command";

/// What a new workspace is.
#[derive(Debug, Args)]
pub(crate) struct WorkspaceArgs {
    /// The image: NAME[:TAG], sha256:DIGITS, oci:DIR[:TAG], oci-archive:FILE[:TAG],
    /// docker-archive:FILE[:TAG], rootfs:FILE.tar
    #[arg(long, value_name = "SOURCE")]
    pub(crate) image: Option<ImageSource>,

    /// A spec file (`microagent.yaml`) for what the flags leave out; - reads it from stdin
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// When its registry is asked: missing, always or never
    #[arg(long, value_name = "POLICY", default_value = "missing", value_parser = pull_parser(), hide_possible_values = true)]
    pub(crate) pull: PullPolicy,

    /// Allow plain HTTP or an unverified certificate for this registry
    #[arg(long, value_name = "HOST")]
    pub(crate) insecure_registry: Vec<RegistryHost>,

    /// tiny, small, medium or large: see `microagent profiles` [default: medium]
    #[arg(long, value_name = "NAME", value_parser = profile_parser(), hide_possible_values = true, help_heading = SIZE)]
    pub(crate) profile: Option<Profile>,

    /// Memory, for example 512M [default: the profile's]
    #[arg(short, long, value_name = "SIZE", help_heading = SIZE)]
    pub(crate) memory: Option<ByteSize>,

    /// Virtual CPUs, 1 to 32 [default: the profile's]
    #[arg(long, value_name = "N", help_heading = SIZE)]
    pub(crate) cpus: Option<VcpuCount>,

    /// Size of the root disk, which is sparse [default: the profile's]
    #[arg(long, value_name = "SIZE", help_heading = SIZE)]
    pub(crate) disk_size: Option<ByteSize>,

    /// A data disk: NAME=SIZE:/MOUNT, NAME=./disk.ext4:/MOUNT or NAME=FILE.tar:/MOUNT, :ro behind it
    #[arg(long = "disk", value_name = "SPEC", help_heading = SIZE)]
    pub(crate) disks: Vec<DiskSpec>,

    /// A file or folder of this host that it starts with, 256 MiB in all; DST is what it becomes
    #[arg(long, value_name = "SRC:/DST")]
    pub(crate) copy_in: Vec<CopyInArg>,

    /// Variables of the command.
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,

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

    /// Take the place of a workspace of the same name, unless its VM lives or it is quarantined
    #[arg(long)]
    pub(crate) replace: bool,

    /// Check everything, choose the backend and print the merged spec; nothing is pulled or made
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// A kernel in place of the installed one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) kernel: Option<PathBuf>,
}

/// Profiles by name, so that a misspelt one can be answered with the nearest.
fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::as_str))
        .map(|name| name.parse().expect("only names of profiles get here"))
}

/// Policies by name, so that a misspelt one can be answered with the nearest.
pub(super) fn pull_parser() -> impl TypedValueParser<Value = PullPolicy> {
    PossibleValuesParser::new(["missing", "always", "never"]).map(|name| match name.as_str() {
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        _ => PullPolicy::Missing,
    })
}
