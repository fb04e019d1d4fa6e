//! A home of its own for each test: state directory, folder for temporary files, runtime folder and a
//! small, known environment.
//!
//! It removes two troubles: a test that reads the state of the person who runs it, and a product that
//! leaves something behind unseen. After a test, [`Home::leftovers`] names every process, mount and
//! file that should not be there. It must not tidy up in the product's place before it was asked.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// In every child's environment, so that descendants are found whatever their name became.
const MARK: &str = "MICROAGENT_TEST_HOME";
/// What a test passes on from its own environment.
const PASSED_ON: &[&str] = &["PATH", "LANG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// A temporary home. Processes that still belong to it are ended when it is dropped.
#[derive(Debug)]
pub struct Home {
    folder: tempfile::TempDir,
    environment: BTreeMap<OsString, OsString>,
}

impl Home {
    /// A fresh home below the system's folder for temporary files.
    pub fn new() -> Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// A fresh home below `folder`, for a file system of a certain kind or size.
    pub fn within(folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("microagent-test-")
            .tempdir_in(folder)
            .context("cannot make a temporary home")?;
        let mut home = Self {
            folder,
            environment: BTreeMap::new(),
        };
        for name in ["tmp", "runtime", "work"] {
            std::fs::create_dir(home.path().join(name))?;
        }
        private(&home.path().join("runtime"))?;
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                home.set_env(name, value);
            }
        }
        let own = [
            (MARK, home.path().to_owned()),
            ("HOME", home.path().to_owned()),
            ("TMPDIR", home.path().join("tmp")),
            ("XDG_RUNTIME_DIR", home.path().join("runtime")),
            ("MICROAGENT_STATE_DIR", home.state_dir()),
        ];
        for (name, value) in own {
            home.set_env(name, value);
        }
        Ok(home)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The state directory; nobody has made it yet.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Where commands run, and a place for a test's own files.
    pub fn work_dir(&self) -> PathBuf {
        self.path().join("work")
    }

    /// Sets a variable of every command of this home.
    pub fn set_env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.environment
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
    }

    /// The whole environment of a command.
    pub fn environment(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Processes that belong to this home, whoever their parent is.
    pub fn processes(&self) -> Vec<ProcessSeen> {
        processes_of(self.path())
    }

    /// What should not be there once no command runs: processes, mounts, temporary files, aliases.
    /// The state directory is compared by [`Home::state_listing`].
    pub fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .processes()
            .into_iter()
            .map(|process| format!("process {} is still there: {}", process.pid, process.words))
            .collect();
        let path = self.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        found.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&path) && !line.contains("microagent-test-mount"))
                .map(|line| format!("still mounted: {line}")),
        );
        for name in ["tmp", "runtime"] {
            found.extend(
                listing(&self.path().join(name))
                    .into_iter()
                    // The folder for aliases stays; an alias in it does not.
                    .filter(|entry| !(name == "runtime" && entry.path == "microagent"))
                    .map(|entry| format!("left in {name}: {}", entry.path)),
            );
        }
        found
    }

    /// Every path of the state directory with its kind and size, in order.
    pub fn state_listing(&self) -> Vec<Entry> {
        listing(&self.state_dir())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that failed must not burden the next one.
        for process in self.processes() {
            process.end();
        }
    }
}

/// A process that belongs to a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSeen {
    /// Its number.
    pub pid: u32,
    /// Its arguments.
    pub words: String,
}

impl ProcessSeen {
    /// Ends it at once. One that is gone is no error.
    pub fn end(&self) {
        self.signal(crate::cli::Signal::KILL);
    }

    /// Sends it a signal. One that is gone is no error.
    pub fn signal(&self, signal: crate::cli::Signal) {
        if let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// One path of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Below the folder that was listed.
    pub path: String,
    /// `d`, `f`, `l`, or `s` for all else.
    pub kind: char,
    /// In bytes; 0 for folders.
    pub size: u64,
}

fn listing(folder: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        let Ok(children) = std::fs::read_dir(&current) else {
            continue;
        };
        for child in children.flatten() {
            let Ok(metadata) = child.metadata() else {
                continue;
            };
            let kind = metadata.file_type();
            let (kind, size) = if kind.is_dir() {
                open.push(child.path());
                ('d', 0)
            } else if kind.is_file() {
                ('f', metadata.size())
            } else if kind.is_symlink() {
                ('l', 0)
            } else {
                ('s', 0)
            };
            let path = child.path();
            let path = path.strip_prefix(folder).unwrap_or(&path);
            entries.push(Entry {
                path: path.to_string_lossy().into_owned(),
                kind,
                size,
            });
        }
    }
    entries.sort();
    entries
}

fn processes_of(home: &Path) -> Vec<ProcessSeen> {
    let home = home.to_string_lossy().into_owned();
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && belongs(*pid, &home))
        .map(|pid| ProcessSeen {
            pid,
            words: words(pid),
        })
        .collect()
}

fn words(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

fn belongs(pid: u32, home: &str) -> bool {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    // A process that ended and was not reaped yet holds nothing.
    let ended = std::fs::read_to_string(folder.join("stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with(['Z', 'X']))
        })
        .unwrap_or(true);
    if ended {
        return false;
    }
    let names_it = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(home);
    if ["cmdline", "environ"]
        .iter()
        .any(|file| std::fs::read(folder.join(file)).is_ok_and(names_it))
    {
        return true;
    }
    let points_into = |link: PathBuf| {
        std::fs::read_link(link).is_ok_and(|target| target.to_string_lossy().starts_with(home))
    };
    is_confined_to(&folder, home)
        || points_into(folder.join("cwd"))
        || std::fs::read_dir(folder.join("fd"))
            .is_ok_and(|descriptors| descriptors.flatten().any(|fd| points_into(fd.path())))
}

/// A VMM in a private root has neither a word nor a variable nor a path of its home; the mounts in its
/// root were bound from there. They are named as on their own file system, so the home's name counts, which
/// is like no other, and not its path.
fn is_confined_to(process: &Path, home: &str) -> bool {
    let name = home.rsplit('/').next().unwrap_or(home);
    let namespace = |process: &Path| std::fs::read_link(process.join("ns/mnt")).ok();
    let theirs = namespace(process);
    theirs.is_some()
        && theirs != namespace(Path::new("/proc/self"))
        && std::fs::read_to_string(process.join("mountinfo"))
            .is_ok_and(|mounts| mounts.contains(name))
}

fn private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close `{}` to others", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Program;

    #[test]
    fn a_process_is_found_by_its_environment_and_ended_with_the_home() {
        let home = Home::new().unwrap();
        let running = Program::at("/bin/sleep")
            .of(&home)
            .arg("60")
            .spawn()
            .unwrap();
        let seen = home.processes();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].pid, running.pid());
        assert!(home.leftovers()[0].contains("sleep"));
        drop(home);
        let finished = running.finish().unwrap();
        assert_eq!(finished.signal, Some(9));
    }

    #[test]
    fn what_is_left_in_the_folder_for_temporary_files_is_named() {
        let home = Home::new().unwrap();
        assert_eq!(home.leftovers(), Vec::<String>::new());
        std::fs::write(home.path().join("tmp/forgotten"), b"x").unwrap();
        assert_eq!(home.leftovers(), ["left in tmp: forgotten"]);
    }
}
