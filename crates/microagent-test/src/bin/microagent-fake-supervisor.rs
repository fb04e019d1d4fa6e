//! A supervisor whose VMs are threads: the whole of supervisor and monitor, without a hypervisor.

use microagent_test::fake_backend::FakeBackend;
use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    microagent_supervisor::run(&FakeBackend, std::env::args().skip(1))
}
