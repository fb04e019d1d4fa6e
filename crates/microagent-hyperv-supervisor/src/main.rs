//! The executable of the `windows-hyperv` backend: log lines to stderr, the backend to the supervisor's
//! entry. It must not write to stdout, which carries the one response, and decides nothing.

use std::io;
use std::process::ExitCode;

use microagent_hyperv_supervisor::backend::HypervBackend;
use microagent_hyperv_supervisor::host_compute::HostCompute;
use microagent_types::env_vars::EnvVar;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged when nobody says otherwise: a monitor's log keeps what the VMM says.
const MONITOR_LOG: LevelFilter = LevelFilter::INFO;
const REQUEST_LOG: LevelFilter = LevelFilter::WARN;

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    let is_monitor = arguments.first().is_some_and(|mode| mode == "monitor");
    log_to_stderr(if is_monitor { MONITOR_LOG } else { REQUEST_LOG });
    microagent_supervisor::run(&HypervBackend::new(HostCompute), arguments.into_iter())
}

fn log_to_stderr(default: LevelFilter) {
    let wanted = EnvVar::Log.read();
    let filter: Targets = wanted
        .and_then(|words| words.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(default));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}
