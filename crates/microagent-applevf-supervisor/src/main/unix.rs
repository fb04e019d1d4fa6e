//! The main of a Unix host: log lines to stderr, the backend to the supervisor's entry. It must not
//! write to stdout, which carries the one response, and decides nothing. On another system than macOS
//! the answers say that the host is wrong.

use std::io;
use std::process::ExitCode;

use microagent_applevf_supervisor::backend::AppleBackend;
use microagent_applevf_supervisor::framework;
use microagent_types::env_vars::EnvVar;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged when nobody says otherwise.
const MONITOR_LOG: LevelFilter = LevelFilter::INFO;
const REQUEST_LOG: LevelFilter = LevelFilter::WARN;

pub(super) fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    let is_monitor = arguments.first().is_some_and(|mode| mode == "monitor");
    log_to_stderr(if is_monitor { MONITOR_LOG } else { REQUEST_LOG });
    let backend = AppleBackend::new(framework::of_this_host());
    microagent_supervisor::run(&backend, arguments.into_iter())
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
