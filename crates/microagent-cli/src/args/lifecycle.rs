//! The verbs on existing workspaces: several names, and a flag or two each.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use microagent_types::{ByteSize, PublishSpec, Span, VcpuCount, WorkspaceName};

/// Which workspaces.
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// The workspaces
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<WorkspaceName>,
}

/// Why, for the history.
#[derive(Debug, Args)]
pub(crate) struct NoteArgs {
    /// Why; stored in the history, up to 1024 bytes
    #[arg(long, value_name = "TEXT", value_parser = note_parser())]
    pub(crate) note: Option<String>,
}

fn note_parser() -> impl clap::builder::TypedValueParser<Value = String> {
    use microagent_wire::limits::NOTE_BYTES_MAX;
    clap::builder::StringValueParser::new().try_map(|note| {
        if note.len() > NOTE_BYTES_MAX {
            return Err(format!("a note holds at most {NOTE_BYTES_MAX} bytes"));
        }
        Ok(note)
    })
}

/// Boots workspaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent start web
  microagent start --timeout 2m web db
  microagent start --publish 8080:80 web")]
pub(crate) struct StartArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Longest time until the guest is ready [default: 60s, 300s when emulated]
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    pub(crate) timeout: Option<Span>,

    /// Memory for this boot only
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,

    /// Virtual CPUs for this boot only
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<VcpuCount>,

    /// Publish a TCP port for this boot only
    #[arg(short, long, value_name = "[HOST:]HOSTPORT:GUESTPORT")]
    pub(crate) publish: Vec<PublishSpec>,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Shuts workspaces down cleanly.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent halt web
  microagent halt --timeout 60s web db")]
pub(crate) struct HaltArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Longest time for the guest's shutdown; nothing is killed when it passes
    #[arg(
        long,
        value_name = "DUR",
        default_value = "15s",
        allow_hyphen_values = true
    )]
    pub(crate) timeout: Span,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Ends VMs by SIGTERM, then kills.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent stop web
  microagent stop --timeout 1s web db")]
pub(crate) struct StopArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Time between SIGTERM and kill
    #[arg(
        long,
        value_name = "DUR",
        default_value = "5s",
        allow_hyphen_values = true
    )]
    pub(crate) timeout: Span,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Kills VMs at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent kill web
  microagent kill --note 'does not answer' web")]
pub(crate) struct KillArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Freezes vCPUs in place.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent pause web
  microagent pause web && microagent resume web")]
pub(crate) struct PauseArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Thaws vCPUs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent resume web
  microagent pause web && microagent resume web")]
pub(crate) struct ResumeArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Severs workspaces and keeps the evidence.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent quarantine web
  microagent quarantine --freeze --note 'case 17' web")]
pub(crate) struct QuarantineArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Pause the vCPUs as well
    #[arg(long)]
    pub(crate) freeze: bool,

    /// Why.
    #[command(flatten)]
    pub(crate) why: NoteArgs,
}

/// Removes workspaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent delete web
  microagent delete --yes web db
  microagent halt web && microagent delete --yes web")]
pub(crate) struct DeleteArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Of other tools: there is no force, and whoever types it is told so
    #[arg(short, long, hide = true)]
    pub(crate) force: bool,
}

/// Waits for workspaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent wait web
  microagent wait --for ready --timeout 30s web
  microagent wait --for port:80 web")]
pub(crate) struct WaitArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) which: NamesArgs,

    /// ended (the VM is gone), ready (the guest is) or port:N (a guest port accepts)
    #[arg(long = "for", value_name = "WHAT", default_value = "ended")]
    pub(crate) what: WaitFor,

    /// Longest time; 0 for as long as the VM lives
    #[arg(
        long,
        value_name = "DUR",
        default_value = "0",
        allow_hyphen_values = true
    )]
    pub(crate) timeout: Span,
}

/// What a wait waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitFor(pub(crate) microagent_workspace::wait::Condition);

impl std::str::FromStr for WaitFor {
    type Err = microagent_types::InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use microagent_workspace::wait::Condition;
        let refused = || {
            microagent_types::InvalidText::new(
                "something to wait for",
                text,
                "write ended, ready or port:N",
            )
        };
        Ok(Self(match text {
            "ended" => Condition::Ended,
            "ready" => Condition::Ready,
            _ => {
                let port = text.strip_prefix("port:").ok_or_else(refused)?;
                Condition::Port(port.parse().map_err(|_| refused())?)
            }
        }))
    }
}

/// One workspace as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent status web
  microagent status --json web
  microagent status --show-env web")]
pub(crate) struct StatusArgs {
    /// Which workspace
    pub(crate) name: WorkspaceName,

    /// Show the values of its environment, which may be secrets
    #[arg(long)]
    pub(crate) show_env: bool,
}

/// The states of `product.md` section 2.
const STATES: [&str; 9] = [
    "prepared",
    "starting",
    "running",
    "paused",
    "halting",
    "halted",
    "stopped",
    "failed",
    "quarantined",
];

/// Which workspaces are listed.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only those in this state; may be given several times
    #[arg(long = "state", value_name = "STATE", value_parser = PossibleValuesParser::new(STATES).map(String::from), hide_possible_values = true)]
    pub(crate) states: Vec<String>,

    /// Only those with this label; all of several must fit
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    pub(crate) labels: Vec<String>,
}

/// All workspaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent list
  microagent list --state running --label team=web
  microagent list -q")]
pub(crate) struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// Workspaces whose VM lives.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent ps
  microagent ps --all")]
pub(crate) struct PsArgs {
    /// All workspaces, as list
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Which.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// A workspace's history.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent events web
  microagent events --since 10m web
  microagent events --follow --json web
  microagent events --verify web")]
pub(crate) struct EventsArgs {
    /// Which workspace
    pub(crate) name: WorkspaceName,

    /// Go on until the VM ends
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// The last N events only
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<usize>,

    /// Only events since then: 10m (ago), 2026-03-04 or 2026-03-04T09:12:43Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<super::moment::MomentArg>,

    /// Check the numbers and the hash chain of the whole history
    #[arg(long, conflicts_with_all = ["follow", "tail", "since"])]
    pub(crate) verify: bool,
}
