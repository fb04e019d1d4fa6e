//! The switches of Linux hosts that keep user namespaces from ordinary users, and the way back of each.
//!
//! They are read as files, so on other systems there are none. What a switch says is not what a host
//! allows: only the attempt tells that.

use crate::fs;
use std::path::Path;

/// Longest value of a switch.
const SWITCH_BYTES_MAX: u64 = 64;

/// A file of the kernel that keeps user namespaces away, and what undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceSwitch {
    /// The file.
    pub path: &'static str,
    /// What it holds when they are kept away.
    pub off: &'static str,
    /// The command to type.
    pub fix: &'static str,
}

const SWITCHES: [NamespaceSwitch; 3] = [
    NamespaceSwitch {
        path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        off: "1",
        fix: "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    },
    NamespaceSwitch {
        path: "/proc/sys/kernel/unprivileged_userns_clone",
        off: "0",
        fix: "sudo sysctl kernel.unprivileged_userns_clone=1",
    },
    NamespaceSwitch {
        path: "/proc/sys/user/max_user_namespaces",
        off: "0",
        fix: "sudo sysctl user.max_user_namespaces=15000",
    },
];

/// The first switch that keeps ordinary users from namespaces of their own; none when no known one does.
pub fn found() -> Option<&'static NamespaceSwitch> {
    SWITCHES.iter().find(|switch| {
        let value = fs::read_text_bounded(Path::new(switch.path), SWITCH_BYTES_MAX);
        value.is_ok_and(|value| value.trim() == switch.off)
    })
}
