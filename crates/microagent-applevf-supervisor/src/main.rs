//! The executable of the `apple-vf` backend: it chooses the backend and where log lines go. Everything
//! else is in the libraries; nothing may be decided here.

use std::process::ExitCode;

#[cfg(unix)]
#[path = "main/unix.rs"]
mod platform;

#[cfg(not(unix))]
#[path = "main/absent.rs"]
mod platform;

fn main() -> ExitCode {
    platform::main()
}
