//! `supervisor`: one request, passed through.

use clap::Args;

/// Passes stdin to the supervisor and its response to stdout, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent supervisor < request.json
  echo '{\"protocolVersion\":1,\"command\":\"host\"}' | microagent supervisor
  microagent --backend qemu supervisor < request.json")]
pub(crate) struct SupervisorArgs {}
