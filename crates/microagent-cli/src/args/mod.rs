//! What was typed. clap and nothing else: no file, variable or host is looked at here, so help,
//! completions and man pages work where nothing else does. What the words mean is settled in
//! `commands/`.

mod completions;
mod connect;
mod copies;
mod cp;
mod create;
mod doctor;
mod environment;
mod exec;
mod foreign_words;
mod global;
mod help;
mod image;
mod kernel;
mod lifecycle;
mod logs;
mod man;
mod moment;
mod network;
mod profiles;
mod quick;
mod refusal;
mod run;
mod scan;
mod session;
mod supervisor;
mod top;
mod version;
mod workspace;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use microagent_wire::fault::Fault;

pub(crate) use completions::{CompleteArgs, CompleteKind, CompletionsArgs};
pub(crate) use connect::ConnectArgs;
pub(crate) use copies::{CopyInArg, CopyOutArg};
pub(crate) use cp::CpArgs;
pub(crate) use create::CreateArgs;
pub(crate) use doctor::{DoctorArgs, HostArgs};
pub(crate) use environment::EnvironmentArgs;
pub(crate) use exec::ExecArgs;
pub(crate) use global::GlobalArgs;
pub(crate) use image::{
    ArchArgs, ImageArgs, ImageCommand, ImageDeleteArgs, ImageImportArgs, ImagePruneArgs,
    ImagePullArgs, ImageTagArgs, RootfsArgs, RootfsBuildArgs, RootfsCommand,
};
pub(crate) use kernel::{KernelArgs, KernelCommand, KernelInstallArgs, KernelScope};
pub(crate) use lifecycle::{
    DeleteArgs, EventsArgs, FilterArgs, HaltArgs, KillArgs, ListArgs, PauseArgs, PsArgs,
    QuarantineArgs, ResumeArgs, StartArgs, StatusArgs, StopArgs, WaitArgs,
};
pub(crate) use logs::{BootArg, LogsArgs};
pub(crate) use man::ManArgs;
pub(crate) use network::{MediationArg, NetworkArgs, NetworkOfArgs};
pub(crate) use profiles::ProfilesArgs;
pub(crate) use refusal::invalid_text;
pub(crate) use run::RunArgs;
pub(crate) use session::SessionArgs;
pub(crate) use supervisor::SupervisorArgs;
pub(crate) use top::TopArgs;
pub(crate) use version::VersionArgs;
pub(crate) use workspace::WorkspaceArgs;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "microagent",
    version,
    about = "Runs commands and agents in microVMs made from OCI images",
    disable_help_subcommand = true,
    args_override_self = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// Which command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands. One file each, here and in `commands/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one command in a fresh workspace
    Run(Box<RunArgs>),
    /// Prepare a workspace without booting it
    Create(Box<CreateArgs>),
    /// Boot workspaces and return when their guests are ready
    Start(StartArgs),
    /// Shut workspaces down cleanly, keeping their disks; never kills
    Halt(HaltArgs),
    /// End VMs by SIGTERM after a guest sync, and kill those that stay
    Stop(StopArgs),
    /// Kill VMs at once
    Kill(KillArgs),
    /// Freeze workspaces in place
    Pause(PauseArgs),
    /// Let paused workspaces go on
    Resume(ResumeArgs),
    /// Cut workspaces off and keep the evidence
    Quarantine(QuarantineArgs),
    /// Remove workspaces with their disks, logs and history
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    /// Wait until workspaces have ended, are ready, or serve a port
    Wait(WaitArgs),
    /// Run a command in a running workspace
    Exec(Box<ExecArgs>),
    /// Open a shell in a running workspace, or its serial console
    Connect(ConnectArgs),
    /// Copy files into a workspace or out of it, also while it is halted
    Cp(CpArgs),
    /// Show one workspace
    #[command(visible_alias = "inspect")]
    Status(StatusArgs),
    /// Show the network of one workspace
    Network(NetworkOfArgs),
    /// List all workspaces
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// List the workspaces whose VM lives
    Ps(PsArgs),
    /// Show live what every workspace uses
    Top(TopArgs),
    /// Show or follow the serial console of a workspace
    Logs(LogsArgs),
    /// Show, follow or verify the history of a workspace
    Events(EventsArgs),
    /// Say what works on this host, what does not, and how to get it
    Doctor(DoctorArgs),
    /// Show the raw facts about this host
    Host(HostArgs),
    /// Pull, import, list, name and remove images
    Image(ImageArgs),
    /// Build the disk of an image into a file
    Rootfs(RootfsArgs),
    /// List, install and verify the kernels that workspaces boot
    Kernel(KernelArgs),
    /// Show the profiles: memory, CPUs and disk by name
    Profiles(ProfilesArgs),
    /// Pass one JSON request to the supervisor, for debugging
    Supervisor(SupervisorArgs),
    /// Show the version of microagent
    Version(VersionArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(ManArgs),
    /// Words for completion scripts
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

/// What a command line comes to.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command.
    Command(Box<Cli>),
    /// Text that was asked for: help or the version.
    Text {
        /// For a terminal without colour.
        plain: String,
        /// With colour.
        ansi: String,
    },
    /// Nothing was typed: the short help, which is no answer.
    Nothing {
        /// The short help.
        help: String,
    },
    /// What was typed is wrong.
    Refused(Box<Fault>),
}

/// A parsed command line and the flags that count even when it is wrong.
#[derive(Debug)]
pub(crate) struct Parse {
    /// `--json` stands in front of the guest's words.
    pub(crate) json: bool,
    /// `--color`, as far as it could be read.
    pub(crate) color: Option<crate::printer::ColorChoice>,
    /// The outcome.
    pub(crate) parsed: Parsed,
}

/// Parses the words of a command line, the program's name first.
pub(crate) fn parse(words: &[OsString]) -> Parse {
    parse_quickly(words).unwrap_or_else(|| parse_by_all(words))
}

/// A line that is right, by the definition of its own command.
fn parse_quickly(words: &[OsString]) -> Option<Parse> {
    let behind = words.get(1..).unwrap_or_default();
    let mut root = quick::definition(behind)?;
    let seen = scan::scan(&root, behind);
    if foreign_words::host_folder(&seen).is_some() {
        return None;
    }
    let matches = root.try_get_matches_from_mut(words).ok()?;
    let cli = Cli::from_arg_matches(&matches).ok()?;
    Some(Parse {
        json: seen.json,
        color: seen.color,
        parsed: Parsed::Command(Box::new(cli)),
    })
}

fn parse_by_all(words: &[OsString]) -> Parse {
    let mut root = definition();
    let seen = scan::scan(&root, words.get(1..).unwrap_or_default());
    let parsed = match foreign_words::host_folder(&seen) {
        Some(fault) => Parsed::Refused(Box::new(fault)),
        None => parse_with_clap(&mut root, &seen, words),
    };
    // Thousands of small pieces, which are given back one by one for nothing: the process needs one
    // definition, and ends soon.
    std::mem::forget(root);
    Parse {
        json: seen.json,
        color: seen.color,
        parsed,
    }
}

/// Of the definition only the command that was typed is worked out; a refusal needs all of it.
fn parse_with_clap(root: &mut clap::Command, seen: &scan::Seen, words: &[OsString]) -> Parsed {
    let parsed = root
        .try_get_matches_from_mut(words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Parsed::Command(Box::new(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                let text = error.render();
                Parsed::Text {
                    plain: text.to_string(),
                    ansi: text.ansi().to_string(),
                }
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Parsed::Nothing {
                    help: help::short(&whole()),
                }
            }
            _ => Parsed::Refused(Box::new(refusal::fault(&whole(), seen, &error))),
        },
    }
}

/// The definition with every command worked out.
fn whole() -> clap::Command {
    let mut root = definition();
    root.build();
    root
}

/// The definition that help, man pages, completions and parsing share.
pub(crate) fn definition() -> clap::Command {
    help::grouped(Cli::command())
}

#[cfg(test)]
mod tests;
