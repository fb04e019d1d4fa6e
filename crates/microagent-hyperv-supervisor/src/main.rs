//! The executable of the `windows-hyperv` backend: it chooses the backend, and decides nothing else.

use microagent_hyperv_supervisor::backend::HypervBackend;
use microagent_hyperv_supervisor::host_compute;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = HypervBackend::new(host_compute::of_this_host(), host_compute::sockets());
    microagent_supervisor::main(&backend)
}
