//! A supervisor whose VMs are threads: the whole of supervisor and monitor, without a hypervisor.

use microagent_test::fake_backend::FakeBackend;
use std::process::ExitCode;

fn main() -> ExitCode {
    microagent_supervisor::main(&FakeBackend)
}
