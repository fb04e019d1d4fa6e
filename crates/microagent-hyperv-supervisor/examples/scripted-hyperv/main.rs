//! A supervisor of this backend whose services are scripted: the whole of backend, supervisor and monitor
//! but for the calls. For tests; it lets the cases of the protocol run on a Linux host.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a part of tests, which unwrap"
)]

#[cfg(target_os = "linux")]
mod scripted;
#[cfg(target_os = "linux")]
mod sockets;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let (host, sockets) = scripted::services();
    let backend = microagent_hyperv_supervisor::backend::HypervBackend::new(host, sockets);
    microagent_supervisor::run(&backend, std::env::args().skip(1))
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::from(2)
}
