//! The one main of every supervisor: its words, where log lines go, the mode. It must not write to stdout,
//! which carries the one response.

use crate::backend::Backend;
use crate::run::run;
use microagent_types::env_vars::EnvVar;
use std::io;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged when nobody says otherwise: a monitor's log keeps what the VMM says.
const MONITOR_LOG: LevelFilter = LevelFilter::INFO;
const REQUEST_LOG: LevelFilter = LevelFilter::WARN;

/// Runs a supervisor with the words of this process. Call it first thing in `main`, before anything is
/// opened, and return what it returns. Once a process: it says where log lines go.
pub fn main(backend: &dyn Backend) -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let is_monitor = words.first().is_some_and(|mode| mode == "monitor");
    log_to_stderr(if is_monitor { MONITOR_LOG } else { REQUEST_LOG });
    run(backend, words.into_iter())
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
