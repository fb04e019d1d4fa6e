//! A supervisor of this backend whose framework is scripted: the whole of backend, supervisor and monitor
//! but for the calls. For tests; it lets the cases of the protocol run on every Unix host.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a part of tests, which unwrap"
)]

#[cfg(unix)]
mod renamed;
#[cfg(unix)]
mod scripted;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    let backend = renamed::Renamed::new(scripted::framework());
    microagent_supervisor::run(&backend, std::env::args().skip(1))
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    ExitCode::from(2)
}
