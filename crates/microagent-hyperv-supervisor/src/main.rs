//! The executable of the `windows-hyperv` backend: it chooses the backend, and decides nothing else.

use microagent_hyperv_supervisor::backend::HypervBackend;
use microagent_hyperv_supervisor::host_compute::HostCompute;
use std::process::ExitCode;

fn main() -> ExitCode {
    microagent_supervisor::main(&HypervBackend::new(HostCompute))
}
