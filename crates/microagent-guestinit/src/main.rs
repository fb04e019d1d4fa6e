//! `/init` of every guest. It must not do anything but start: all of it is in the library.

fn main() -> std::process::ExitCode {
    microagent_guestinit::pid_one::main()
}
