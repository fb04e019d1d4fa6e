//! What this host allows of confinement. Looks only; the judgement is the plan's.

use std::path::Path;

use microagent_os::fs;
use microagent_os::process;

use super::plan::{Availability, HostFacts, Obstacle};

const NUMBER_BYTES_MAX: u64 = 64;
/// How many user namespaces a user may have.
const USER_NAMESPACES_MAX: &str = "/proc/sys/user/max_user_namespaces";
/// Debian's switch, where it exists.
const USER_NAMESPACES_SWITCH: &str = "/proc/sys/kernel/unprivileged_userns_clone";

/// What a start would find, for reports and for the check before one.
pub fn host_facts() -> HostFacts {
    let privileged = process::effective_user() == 0;
    facts(privileged, may_have_pid_namespace(privileged))
}

/// What this monitor has. Its pid namespace was made before it, or was not.
pub fn monitor_facts(own_pid_namespace: bool) -> HostFacts {
    let pid_namespace = if own_pid_namespace {
        Ok(())
    } else {
        Err(Obstacle::Host(
            "the monitor is not the first process of one".to_owned(),
        ))
    };
    facts(process::effective_user() == 0, pid_namespace)
}

fn facts(privileged: bool, pid_namespace: Availability) -> HostFacts {
    HostFacts {
        privileged,
        pid_namespace,
        // QEMU refuses to start when it was built without its filter.
        seccomp: Ok(()),
        user_namespace: Err(Obstacle::NotBuilt),
        mount_namespace: Err(Obstacle::NotBuilt),
        ipc_namespace: Err(Obstacle::NotBuilt),
        network_namespace: Err(Obstacle::NotBuilt),
        private_root: Err(Obstacle::NotBuilt),
        landlock: Err(Obstacle::NotBuilt),
    }
}

fn may_have_pid_namespace(privileged: bool) -> Availability {
    let is_zero = |path: &str| {
        fs::read_text_bounded(Path::new(path), NUMBER_BYTES_MAX)
            .is_ok_and(|number| number.trim() == "0")
    };
    for path in [USER_NAMESPACES_MAX, USER_NAMESPACES_SWITCH] {
        if !privileged && is_zero(path) {
            return Err(Obstacle::Host(format!("`{path}` is 0")));
        }
    }
    Ok(())
}
