//! A cgroup for one boot: the VMM and its helpers, with a limit of memory and of tasks where the host gives us
//! these controllers.
//!
//! It is made below our own group where that is a delegated one, or the root of them all; elsewhere there is
//! none, which stops no start: the pid namespace ends the processes with their monitor all the same. The
//! limits are no share of the host. They keep a VMM that leaks, or was broken into, from taking all of it.
//! Nobody else's group is touched.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use microagent_os::process::Exit;
use microagent_os::{FsError, dirs, fs};
use microagent_supervisor::backend::{ConfinementDemand, LaunchSpec, VmExit};
use microagent_supervisor::control_group::{folder_name, remove};
use microagent_types::{AbsPath, BootId};

use crate::pidfd::OwnedProcess;

/// What a VM may take beside its guest's memory: QEMU's translations of emulated code alone are up to 1 GiB, and
/// what its disks have in the host's cache counts, of which the kernel takes back what is not in use.
const MEMORY_HEADROOM_BYTES: u64 = 2 << 30;
/// A virtual CPU is a task, and so is each of QEMU's 64 disk threads.
const TASKS_MAX: u32 = 512;
/// Where a pid is written to put its process into the group.
const MEMBERS: &str = "cgroup.procs";
/// SIGKILL, which is how the kernel ends what has no memory.
const KILL_SIGNAL: i32 = 9;
const MOUNTS_BYTES_MAX: u64 = 1 << 20;
const FILE_BYTES_MAX: u64 = 4096;

/// Why a boot has no group of its own.
#[derive(Debug, thiserror::Error)]
pub enum ControlGroupError {
    /// The host has none of the second version, or ours is not in sight.
    #[error("this process has no cgroup of version 2 in sight")]
    NoTree,
    /// Ours is not delegated.
    #[error("no cgroup can be made below `{}`", parent.display())]
    Make {
        /// Our own group.
        parent: PathBuf,
        /// Why.
        #[source]
        source: FsError,
    },
}

/// A group; it stays until it is removed.
#[derive(Debug, Clone)]
pub struct ControlGroup {
    path: AbsPath,
}

/// How a VMM ended, by its status and by what its group counts.
pub fn vm_exit(exit: Option<Exit>, group: Option<&ControlGroup>) -> VmExit {
    let killed = exit == Some(Exit::Signal(KILL_SIGNAL));
    VmExit {
        code: match exit {
            Some(Exit::Code(code)) => Some(code),
            _ => None,
        },
        signal: match exit {
            Some(Exit::Signal(signal)) => Some(signal),
            _ => None,
        },
        out_of_memory: killed && group.is_some_and(ControlGroup::has_run_out_of_memory),
    }
}

impl ControlGroup {
    /// For a boot that is to be confined, where the host allows one.
    pub fn for_boot(spec: &LaunchSpec) -> Option<Self> {
        if spec.confinement == ConfinementDemand::Off {
            return None;
        }
        let memory_max = spec.memory.bytes() + MEMORY_HEADROOM_BYTES;
        match Self::make(&spec.boot_id, memory_max) {
            Ok(group) => Some(group),
            Err(error) => {
                tracing::info!(%error, "a boot without a cgroup");
                None
            }
        }
    }

    /// Makes it, with the limits that can be had.
    pub fn make(boot: &BootId, memory_bytes_max: u64) -> Result<Self, ControlGroupError> {
        let parent = own_folder().ok_or(ControlGroupError::NoTree)?;
        let folder = parent.join(folder_name(boot));
        let not_made = |source| ControlGroupError::Make {
            parent: parent.clone(),
            source,
        };
        // Only a group without processes, or the root, passes its controllers on; they may be on already.
        for controller in ["+memory", "+pids"] {
            let _ = write(&parent.join("cgroup.subtree_control"), controller);
        }
        dirs::ensure_private(&folder).map_err(not_made)?;
        let path = AbsPath::try_from(folder.as_path()).map_err(|_| ControlGroupError::NoTree)?;
        let group = Self { path };
        group.limit("memory.max", memory_bytes_max);
        group.limit("memory.oom.group", 1);
        group.limit("pids.max", TASKS_MAX.into());
        Ok(group)
    }

    fn limit(&self, name: &str, value: u64) {
        let file = self.path.as_path().join(name);
        if !fs::is_file(&file) {
            tracing::info!(name, "no limit: the cgroup has no such controller");
        } else if let Err(error) = write(&file, &value.to_string()) {
            tracing::warn!(name, %error, "a limit was not set");
        }
    }

    /// Where it is.
    pub fn path(&self) -> &AbsPath {
        &self.path
    }

    /// Takes a process of ours in, on a thread of its own: the kernel lets a change of group wait for all its
    /// processors. What it makes afterwards is in it too.
    pub fn take_in(&self, process: &OwnedProcess) -> JoinHandle<()> {
        let members = self.path.as_path().join(MEMBERS);
        let pid = process.pid_here().to_string();
        let name = process.name();
        std::thread::spawn(move || {
            if let Err(error) = write(&members, &pid) {
                tracing::warn!(name, %error, "outside of the boot's cgroup");
            }
        })
    }

    /// Whether the kernel has ended processes in it for want of memory.
    pub fn has_run_out_of_memory(&self) -> bool {
        let events = self.path.as_path().join("memory.events");
        let events = fs::read_text_bounded(&events, FILE_BYTES_MAX);
        events.is_ok_and(|events| counts_a_kill(&events))
    }

    /// Removes it after its last process has ended. The wait for the kernel is short, and nothing else of the
    /// boot is left to be done.
    pub fn remove(&self) {
        if let Err(error) = remove(self.path.as_path()) {
            tracing::warn!(%error, "the cgroup stays");
        }
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    let mut file = fs::open_write(file).map_err(|error| error.to_string())?;
    file.write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}

fn own_folder() -> Option<PathBuf> {
    let mounts = fs::read_text_bounded(Path::new("/proc/self/mountinfo"), MOUNTS_BYTES_MAX).ok()?;
    let groups = fs::read_text_bounded(Path::new("/proc/self/cgroup"), MOUNTS_BYTES_MAX).ok()?;
    folder_of(&mounts, &groups)
}

/// Where the group that `/proc/self/cgroup` tells is, by what `/proc/self/mountinfo` tells.
fn folder_of(mounts: &str, groups: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // A part of the tree may be mounted, in which ours need not be.
        let below = Path::new(own).strip_prefix(root).ok()?;
        let is_plain = below
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        is_plain.then(|| Path::new(point).join(below))
    })
}

fn counts_a_kill(events: &str) -> bool {
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count.is_some_and(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Launch;
    use crate::test_loop::in_loop;
    use tokio::io::AsyncWriteExt as _;

    const UNIFIED: &str = "23 28 0:22 / /sys rw shared:7 - sysfs sysfs rw\n\
        30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn our_own_group_is_found_below_the_mount() {
        let folder = |groups| folder_of(UNIFIED, groups);
        assert_eq!(
            folder("0::/user.slice/user-1000.slice/work.scope\n"),
            Some("/sys/fs/cgroup/user.slice/user-1000.slice/work.scope".into())
        );
        assert_eq!(folder("0::/\n"), Some("/sys/fs/cgroup/".into()));
        // The first version counts its hierarchies from 1.
        assert_eq!(folder("4:memory:/a\n"), None);
        assert_eq!(
            folder("9:name=systemd:/\n0::/b\n"),
            Some("/sys/fs/cgroup/b".into())
        );
    }

    #[test]
    fn a_group_outside_of_what_is_mounted_is_not_guessed() {
        let part = "30 23 0:26 /docker/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(folder_of(part, "0::/docker/b\n"), None);
        assert_eq!(
            folder_of(part, "0::/docker/a/c\n"),
            Some("/sys/fs/cgroup/c".into())
        );
        assert_eq!(folder_of(UNIFIED, "0::/../other\n"), None);
        assert_eq!(folder_of("", "0::/\n"), None);
    }

    /// Root has a writable tree on nearly every host, and the memory controller in it on most.
    #[test]
    fn what_takes_more_than_its_group_may_have_is_ended_and_that_is_known() {
        const LIMIT_BYTES: u64 = 32 << 20;
        let boot: BootId = "01956f12-0be1-7c40-9f3a-2f61d0a4c7b8".parse().unwrap();
        let Ok(group) = ControlGroup::make(&boot, LIMIT_BYTES) else {
            return;
        };
        let has_limit = fs::is_file(&group.path().as_path().join("memory.max"));
        in_loop(async {
            let glutton = Launch {
                name: "glutton",
                program: "/bin/sh".into(),
                // It waits until it is in the group.
                arguments: [
                    "-c",
                    "read go; head -c 128M /dev/zero | tail -c 128M | wc -c",
                ]
                .map(Into::into)
                .into(),
                working_folder: "/".into(),
                search_path: "/usr/bin:/bin".to_owned(),
                descriptors: Vec::new(),
            };
            let (glutton, mut console) = glutton.start_vmm().unwrap();
            group.take_in(&glutton.process).join().unwrap();
            let members = fs::read_text_bounded(&group.path().as_path().join(MEMBERS), 4096);
            assert!(!members.unwrap().trim().is_empty());
            console.input.write_all(b"go\n").await.unwrap();
            let exit = glutton.process.ended().await.unwrap();
            let told = vm_exit(Some(exit), Some(&group));
            assert_eq!(told.out_of_memory, has_limit, "{exit:?}");
            assert_eq!(exit == Exit::Signal(KILL_SIGNAL), has_limit, "{exit:?}");
        });
        group.remove();
        assert!(!fs::is_folder(group.path().as_path()));
    }

    #[test]
    fn a_kill_for_want_of_memory_is_read_from_its_own_line() {
        assert!(counts_a_kill("low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\n"));
        assert!(!counts_a_kill(
            "low 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 1\n"
        ));
        assert!(!counts_a_kill(""));
    }
}
