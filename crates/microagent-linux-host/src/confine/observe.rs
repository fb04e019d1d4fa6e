//! What this host allows of confinement. Looks only; the judgement is the plan's.

use std::path::Path;

use microagent_os::fs::{self, FileKind};
use microagent_os::{namespace_switch, process};
use microagent_supervisor::backend::ConfinementPart;

use super::landlock;
use super::plan::{Availability, HostFacts, Obstacle, Refusal};
use super::tree::{SystemFolder, companions_of};

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

/// What somebody whose guest may not start unconfined does now.
pub fn way_out(refusal: &Refusal) -> String {
    let lacks_user_namespace = refusal
        .missing
        .iter()
        .any(|(part, _)| *part == ConfinementPart::UserNamespace);
    let switch = namespace_switch::found().filter(|_| lacks_user_namespace);
    let fix = switch.map_or("microagent doctor says what is missing and why", |switch| {
        switch.fix
    });
    format!("{fix}; or unset MICROAGENT_CONFINEMENT")
}

fn facts(privileged: bool, pid_namespace: Availability) -> HostFacts {
    HostFacts {
        privileged,
        pid_namespace,
        // QEMU refuses to start when it was built without its filter.
        seccomp: Ok(()),
        user_namespace: may_have_user_namespace(),
        mount_namespace: Ok(()),
        ipc_namespace: Ok(()),
        network_namespace: Ok(()),
        private_root: Ok(()),
        landlock: landlock::availability(),
    }
}

fn may_have_pid_namespace(privileged: bool) -> Availability {
    if privileged {
        return Ok(());
    }
    may_have_user_namespace()
}

/// What the switches say. Only the attempt tells for sure, and it is made at each start.
fn may_have_user_namespace() -> Availability {
    for path in [USER_NAMESPACES_MAX, USER_NAMESPACES_SWITCH] {
        let number = fs::read_text_bounded(Path::new(path), NUMBER_BYTES_MAX);
        if number.is_ok_and(|number| number.trim() == "0") {
            return Err(Obstacle::Host(format!("`{path}` is 0")));
        }
    }
    Ok(())
}

/// Folders and files of the host that programs need to start.
const SYSTEM: [&str; 8] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
];

/// The host's programs and libraries, and what these programs need beside them.
pub fn system_folders(programs: &[&Path]) -> Vec<SystemFolder> {
    let mut system: Vec<SystemFolder> = SYSTEM
        .iter()
        .filter_map(|path| shown_as(Path::new(path)))
        .collect();
    for program in programs {
        let companions = companions_of(program, &system);
        system.extend(companions.iter().filter_map(|path| shown_as(path)));
    }
    system
}

fn shown_as(path: &Path) -> Option<SystemFolder> {
    match fs::kind_of(path).ok().flatten()? {
        FileKind::Folder => Some(SystemFolder::Folder(path.to_owned())),
        FileKind::Link => {
            let target = fs::read_link(path).ok()?;
            Some(SystemFolder::Link(path.to_owned(), target))
        }
        FileKind::File => Some(SystemFolder::File(path.to_owned())),
        FileKind::Other => None,
    }
}
