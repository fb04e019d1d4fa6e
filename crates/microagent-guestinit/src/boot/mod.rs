//! From the kernel's hand-over to a guest that is ready, in the order of protocol.md 5.2.
//!
//! ```text
//! kernel -> /proc -> dial, hello ─┬─ /sys, /dev while the host answers ─> boot spec
//!   -> clock, name -> root disk, grow, other disks -> files -> network -> services
//!   -> entropy, terminals, bounds, loopback, name files: before the workload, or, when there is none,
//!      behind `ready`
//! ```
//!
//! What the host waits for comes first and nothing here sleeps: the only waits are for the host and
//! for a disk, and both are told of by the kernel.

mod device;
mod disks;
mod files;
mod grow;
mod identity;
mod mounts;
mod name_files;
mod netlink;
mod network;
mod root;
mod sequence;
mod unmount;

pub(crate) use mounts::memory_available_bytes;
pub(crate) use root::InitramfsRoot;
pub(crate) use sequence::{Beginning, Booted, Failure, announce, begin, boot, furnish, prepare};
pub(crate) use unmount::unmount_all;

/// What PID 1 calls to end this VM, as `microagent.end` on the kernel command line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndCall {
    /// A reset: x86-64 Firecracker and QEMU have no power-off.
    Reset,
    /// A power-off: the framework would start a guest that resets again.
    PowerOff,
}

impl EndCall {
    /// Reads the kernel command line; a reset when it does not say.
    pub(crate) fn from_command_line(command_line: &str) -> Self {
        let end = command_line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("microagent.end="));
        match end {
            Some("poweroff") => Self::PowerOff,
            _ => Self::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EndCall;

    #[test]
    fn the_command_line_names_the_end() {
        let of = EndCall::from_command_line;
        assert_eq!(of("quiet microagent.end=reset\n"), EndCall::Reset);
        assert_eq!(of("microagent.end=poweroff quiet"), EndCall::PowerOff);
        assert_eq!(of("quiet xmicroagent.end=poweroff"), EndCall::Reset);
    }
}
