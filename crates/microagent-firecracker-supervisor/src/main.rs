//! The executable of the `firecracker` backend: it chooses the backend and where log lines go. Everything
//! else is in the libraries; nothing may be decided here.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "main/linux.rs"]
mod platform;

#[cfg(not(target_os = "linux"))]
#[path = "main/absent.rs"]
mod platform;

fn main() -> ExitCode {
    platform::main()
}
