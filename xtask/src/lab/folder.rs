//! The lab's folder outside: the command's script, the sockets of the ports, the scratch disk.
//!
//! It lies on the outer file tree, so the lab sees the script through its root. The serial log lies
//! apart, since it must outlive a lab that failed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::script::Command;
use crate::places::Places;
use crate::shell::{self, Run};

/// A sparse file takes what is used of it.
const SCRATCH_BYTES: u64 = 32 << 30;

/// The folder of one lab.
#[derive(Debug)]
pub(crate) struct LabFolder {
    path: PathBuf,
    /// The scratch disk's file system.
    pub(crate) file_system: &'static str,
    /// What the lab's kernel and init say; removed only after a run that came to its end.
    pub(crate) serial_log: PathBuf,
}

impl LabFolder {
    /// Makes it, with everything that the lab needs to find.
    pub(crate) fn make(places: &Places, command: &Command) -> Result<Self> {
        let logs = places.target.join("lab");
        make_dir(&logs)?;
        let name = format!("microagent-lab-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        if path.to_str().is_none_or(|path| path.contains(' ')) {
            bail!("`{}` can't be named to the lab", path.display());
        }
        make_dir(&path)?;
        let folder = Self {
            serial_log: logs.join(format!("{name}.log")),
            // Only with its mkfs can clones share blocks; anything else copies.
            file_system: if shell::is_on_path("mkfs.xfs") {
                "xfs"
            } else {
                "ext4"
            },
            path,
        };
        let script = command.script(|name| std::env::var(name).ok());
        std::fs::write(folder.script(), script)
            .with_context(|| format!("cannot write `{}`", folder.script().display()))?;
        folder.make_scratch_disk()?;
        Ok(folder)
    }

    fn make_scratch_disk(&self) -> Result<()> {
        let disk = self.scratch_disk();
        let file = std::fs::File::create(&disk)
            .with_context(|| format!("cannot make `{}`", disk.display()))?;
        file.set_len(SCRATCH_BYTES)
            .with_context(|| format!("cannot size `{}`", disk.display()))?;
        Run::new(format!("mkfs.{}", self.file_system))
            .arg("-q")
            .arg(&disk)
            .ok()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The disk that the lab may write.
    pub(crate) fn scratch_disk(&self) -> PathBuf {
        self.path.join("scratch.img")
    }

    /// The socket of a port.
    pub(crate) fn socket(&self, port: &str) -> PathBuf {
        self.path.join(format!("{port}.sock"))
    }

    /// Removes it with its log, after a run that came to its end.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.serial_log);
    }

    fn script(&self) -> PathBuf {
        self.path.join("command")
    }
}

impl Drop for LabFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove `{}`: {error}", self.path.display());
        }
    }
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make `{}`", path.display()))
}
