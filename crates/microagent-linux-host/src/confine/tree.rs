//! What a VMM's root holds, as a list. Pure: what is on the host comes in as values.
//!
//! The order is the order of making: what lies in a folder comes after the folder.

use std::path::{Path, PathBuf};

use super::message::{Entry, EntryKind};

/// The run folder inside.
pub const RUN: &str = "/run";
/// The VM's files inside.
pub const VM: &str = "/vm";

/// A folder of the host that holds programs and libraries, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemFolder {
    /// A folder.
    Folder(PathBuf),
    /// A link, and where it points.
    Link(PathBuf, PathBuf),
    /// A file that the loader reads.
    File(PathBuf),
}

/// A file or disk of the VM under its name inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFile {
    /// On the host.
    pub source: PathBuf,
    /// Its name below [`VM`].
    pub name: String,
    /// Whether the VM may write it.
    pub writable: bool,
}

impl VmFile {
    /// Its path inside.
    pub fn inside(&self) -> PathBuf {
        Path::new(VM).join(&self.name)
    }
}

/// The root of a VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Programs, libraries and firmware.
    pub system: Vec<SystemFolder>,
    /// Kernel, initramfs and disks.
    pub files: Vec<VmFile>,
    /// The run folder on the host.
    pub run_folder: PathBuf,
    /// Names in the run folder that the VMM must not reach.
    pub masked: Vec<String>,
    /// Devices.
    pub devices: Vec<PathBuf>,
}

impl Tree {
    /// The list.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |kind, source: &Path, target: &Path| Entry {
            kind,
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let mut entries = Vec::new();
        for folder in &self.system {
            entries.push(match folder {
                SystemFolder::Folder(path) | SystemFolder::File(path) => {
                    entry(EntryKind::ReadOnly, path, path)
                }
                SystemFolder::Link(path, target) => entry(EntryKind::Link, target, path),
            });
        }
        for file in &self.files {
            let kind = if file.writable {
                EntryKind::ReadWrite
            } else {
                EntryKind::ReadOnly
            };
            entries.push(entry(kind, &file.source, &file.inside()));
        }
        let run = Path::new(RUN);
        entries.push(entry(EntryKind::ReadWrite, &self.run_folder, run));
        for name in &self.masked {
            entries.push(entry(EntryKind::Mask, Path::new(""), &run.join(name)));
        }
        for device in &self.devices {
            entries.push(entry(EntryKind::Device, device, device));
        }
        entries
    }
}

/// What a program needs to be seen, where the system's folders don't have it already: the file, and
/// libraries and firmware beside it. Not its whole prefix, which may be somebody's home.
pub fn companions_of(program: &Path, system: &[SystemFolder]) -> Vec<PathBuf> {
    let shown = system.iter().any(|folder| match folder {
        SystemFolder::Folder(path) => program.starts_with(path),
        SystemFolder::Link(..) | SystemFolder::File(_) => false,
    });
    if shown {
        return Vec::new();
    }
    let prefix = program
        .parent()
        .filter(|folder| folder.file_name().is_some_and(|name| name == "bin"))
        .and_then(Path::parent);
    let beside = prefix
        .into_iter()
        .flat_map(|prefix| ["lib", "lib64", "share/qemu"].map(|name| prefix.join(name)));
    std::iter::once(program.to_owned()).chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_what_it_is_told_and_nothing_else() {
        let tree = Tree {
            system: vec![
                SystemFolder::Folder("/usr".into()),
                SystemFolder::Link("/lib64".into(), "usr/lib64".into()),
            ],
            files: vec![
                VmFile {
                    source: "/k/Image".into(),
                    name: "kernel".to_owned(),
                    writable: false,
                },
                VmFile {
                    source: "/w/rootfs.ext4".into(),
                    name: "rootfs".to_owned(),
                    writable: true,
                },
            ],
            run_folder: "/w/run".into(),
            masked: vec!["monitor.sock".to_owned()],
            devices: vec!["/dev/null".into()],
        };
        let lines: Vec<String> = tree
            .entries()
            .iter()
            .map(|entry| {
                let (source, target) = (entry.source.display(), entry.target.display());
                format!("{:?} {source} {target}", entry.kind)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "ReadOnly /usr /usr",
                "Link usr/lib64 /lib64",
                "ReadOnly /k/Image /vm/kernel",
                "ReadWrite /w/rootfs.ext4 /vm/rootfs",
                "ReadWrite /w/run /run",
                "Mask  /run/monitor.sock",
                "Device /dev/null /dev/null",
            ]
        );
    }

    #[test]
    fn a_program_outside_the_system_brings_its_libraries_and_not_its_prefix() {
        let system = [SystemFolder::Folder("/usr".into())];
        let companions = |program: &str| companions_of(Path::new(program), &system);
        assert!(companions("/usr/bin/qemu").is_empty());
        assert_eq!(
            companions("/home/u/bin/qemu"),
            [
                "/home/u/bin/qemu",
                "/home/u/lib",
                "/home/u/lib64",
                "/home/u/share/qemu"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(
            companions("/opt/x/libexec/tool"),
            [PathBuf::from("/opt/x/libexec/tool")]
        );
    }
}
