//! The monitor's own confinement: from here on it opens nothing of the host's but what a running
//! workspace needs.
//!
//! The monitor reads what a guest says, so it must count on being broken into. Landlock takes the
//! host's files from a thread and from every thread and process that it makes afterwards. Two things
//! follow: a process that still has to make mounts must have been started before, and a thread from
//! before keeps its rights, so whoever calls this replaces its threads. It can't be undone.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
};
use microagent_supervisor::backend::{ConfinementPart, LaunchSpec};

use super::message::Report;
use super::plan::{Availability, Obstacle};
use crate::control_group::ControlGroup;

/// What every kernel with Landlock knows. More is denied where the kernel knows more.
const LEAST: ABI = ABI::V1;
const MOST: ABI = ABI::V6;
/// What name services and the watching of processes read. None of it is the user's.
const READABLE: [&str; 8] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run/systemd/resolve",
    "/dev/urandom",
];
/// Where what nobody wants is written.
const SINK: &str = "/dev/null";

/// Why a thread was not restricted.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// The kernel knows no Landlock, or refuses a rule.
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
    /// A folder that must stay reachable can't be opened.
    #[error(transparent)]
    Folder(#[from] PathFdError),
}

/// Whether this kernel knows it. Nothing is restricted.
pub fn availability() -> Availability {
    made().map(drop).map_err(obstacle)
}

/// Restricts the calling thread, the monitor's, once nothing is left to start that makes mounts: the
/// VMM's child has said that its root stands. The part rests on that one.
pub fn restrict_monitor(
    spec: &LaunchSpec,
    report: &Report,
    group: Option<&ControlGroup>,
) -> Availability {
    if !report.holds.contains(&ConfinementPart::PrivateRoot) {
        return Err(Obstacle::Needs(ConfinementPart::PrivateRoot));
    }
    let group = group.map(|group| group.path().as_path());
    restrict(&folders_of(spec), group).map_err(obstacle)
}

/// The workspace's own folder, and where its short socket names lie.
fn folders_of(spec: &LaunchSpec) -> Vec<PathBuf> {
    let run = &spec.run;
    [&run.path, &run.socket_prefix]
        .into_iter()
        .filter_map(|path| path.as_path().parent())
        .map(Path::to_owned)
        .collect()
}

/// Restricts the calling thread to these folders, which it may change, to a cgroup, which it may read and
/// remove, and to what name services read.
pub fn restrict(folders: &[PathBuf], group: Option<&Path>) -> Result<(), LandlockError> {
    let mut rules = made()?;
    let change = AccessFs::from_all(MOST) & !AccessFs::Execute;
    for folder in folders {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, change))?;
    }
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    if let Some((group, parent)) = group.and_then(|group| Some((group, group.parent()?))) {
        rules = rules
            .add_rule(PathBeneath::new(PathFd::new(group)?, read))?
            .add_rule(PathBeneath::new(PathFd::new(parent)?, AccessFs::RemoveDir))?;
    }
    for path in READABLE {
        // A host need not have all of them.
        if let Ok(place) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(place, read))?;
        }
    }
    if let Ok(sink) = PathFd::new(SINK) {
        rules = rules.add_rule(PathBeneath::new(
            sink,
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))?;
    }
    rules.restrict_self()?;
    Ok(())
}

fn made() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(MOST))?
        .create()
}

fn obstacle(error: impl Into<LandlockError>) -> Obstacle {
    Obstacle::Host(format!(
        "the kernel has no Landlock for it: {}",
        error.into()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use microagent_os::{dirs, fs};
    use std::io::Write as _;

    #[test]
    fn a_restricted_thread_has_its_folder_and_nothing_else_of_the_user() {
        if availability().is_err() {
            return;
        }
        let own = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::create_new(&other.path().join("secret")).unwrap();
        let (own_folder, other_folder) = (own.path().to_owned(), other.path().to_owned());
        // A thread of its own: what it loses, the test keeps.
        std::thread::spawn(move || {
            let (own, other) = (own_folder, other_folder);
            restrict(std::slice::from_ref(&own), None).unwrap();
            let mut file = fs::create_new(&own.join("record")).unwrap();
            file.write_all(b"1").unwrap();
            dirs::ensure_private(&own.join("run")).unwrap();
            fs::remove_file(&own.join("record")).unwrap();
            assert!(fs::open(Path::new("/proc/self/stat")).is_ok());
            assert!(fs::open(&other.join("secret")).is_err());
            assert!(fs::list(&other).is_err());
            assert!(fs::create_new(&other.join("new")).is_err());
            assert!(fs::remove_file(&other.join("secret")).is_err());
            assert!(fs::open_read_write(Path::new("/dev/null")).is_ok());
            assert!(fs::create_new(Path::new("/etc/microagent-test")).is_err());
            let run = microagent_os::process::Spawn::new("/bin/true");
            assert!(run.start().is_err(), "a program was started");
            // What a restricted thread makes is restricted too.
            let inherited = std::thread::spawn(move || fs::open(&other.join("secret")).is_err());
            assert!(inherited.join().unwrap());
        })
        .join()
        .unwrap();
        assert!(fs::open(&other.path().join("secret")).is_ok());
    }
}
