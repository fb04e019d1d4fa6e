//! The main of a Unix host: it names the backend. On another system than macOS the answers say that the host
//! is wrong. It must not decide anything, nor write to stdout.

use microagent_applevf_supervisor::backend::AppleBackend;
use microagent_applevf_supervisor::framework;
use std::process::ExitCode;

pub(super) fn main() -> ExitCode {
    microagent_supervisor::main(&AppleBackend::new(framework::of_this_host()))
}
