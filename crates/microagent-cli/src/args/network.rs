//! The flags about what a workspace may reach and what may reach it.

use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use microagent_types::{
    InvalidText, MediationPort, MediationTarget, Opening, PublishSpec, WorkspaceName,
};
use microagent_wire::supervisor::spec::NetworkMode;

const HEADING: &str = "Network";

/// The modes by name.
const MODES: [(&str, NetworkMode); 3] = [
    ("nat", NetworkMode::Nat),
    ("isolated", NetworkMode::Isolated),
    ("bridged", NetworkMode::Bridged),
];

/// Network, published ports, mediation.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// nat (outbound only), isolated (none) or bridged (Apple VF only) [default: nat]
    #[arg(long = "network", value_name = "MODE", value_parser = mode_parser(), hide_possible_values = true, help_heading = HEADING)]
    pub(crate) mode: Option<NetworkMode>,

    /// Open to the guest of a nat network: loopback (the host's, at the guest's gateway) or local
    /// (the host's networks)
    #[arg(long, value_name = "WHAT", help_heading = HEADING)]
    pub(crate) reach: Vec<Opening>,

    /// Publish a TCP port of the guest on this host
    #[arg(short, long, value_name = "[HOST:]HOSTPORT:GUESTPORT", help_heading = HEADING)]
    pub(crate) publish: Vec<PublishSpec>,

    /// The channel from the guest's vsock PORT to the control plane: PORT=HOST:PORT or PORT=unix:/path
    #[arg(long, value_name = "SPEC", help_heading = HEADING)]
    pub(crate) mediation: Option<MediationArg>,

    /// Start although the target of the mediation channel does not accept
    #[arg(long, help_heading = HEADING)]
    pub(crate) mediation_optional: bool,
}

/// Show what the network of one workspace is
///
/// The addresses of the guest, published ports and their connections, and the mediation channel: what is
/// declared and what is so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent network web
  microagent network --json web")]
pub(crate) struct NetworkOfArgs {
    /// Which workspace
    pub(crate) name: WorkspaceName,
}

/// Modes by name, so that another engine's are answered with ours.
fn mode_parser() -> impl TypedValueParser<Value = NetworkMode> {
    PossibleValuesParser::new(MODES.map(|(name, _)| name)).map(|name| {
        let known = MODES.iter().find(|(known, _)| *known == name);
        known.expect("only names of modes get here").1
    })
}

/// A declared mediation channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediationArg {
    /// The vsock port that the guest dials.
    pub(crate) port: MediationPort,
    /// Where it leads.
    pub(crate) target: MediationTarget,
}

impl FromStr for MediationArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (port, target) = text.split_once('=').ok_or_else(|| {
            InvalidText::new(
                "a mediation channel",
                text,
                "write PORT=HOST:PORT or PORT=unix:/path, for example 2048=127.0.0.1:9900",
            )
        })?;
        Ok(Self {
            port: port.parse()?,
            target: target.parse()?,
        })
    }
}
