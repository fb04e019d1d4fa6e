//! A file system whose files can share blocks, in a file of its own: XFS or btrfs, mounted over a loop
//! device and unmounted when dropped.
//!
//! Most machines have ext4, which shares none; the fast way to clone a disk would never be taken there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::image::Tool;

/// Which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// XFS with reflinks.
    Xfs,
    /// btrfs.
    Btrfs,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xfs, Self::Btrfs];

    fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    fn maker(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Xfs => ("mkfs.xfs", &["-q", "-m", "reflink=1"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q"]),
        }
    }
}

/// A mounted one.
#[derive(Debug)]
pub struct SharedBlocks {
    folder: tempfile::TempDir,
}

impl SharedBlocks {
    /// Makes and mounts one of `bytes`, of which only what is used takes space; or says why this host or
    /// this user can't, for a test that is left out.
    pub fn mount(kind: Kind, bytes: u64) -> Result<Self, String> {
        let name = kind.name();
        let (maker, words) = kind.maker();
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.split_whitespace().any(|known| known == name) {
            return Err(format!("this kernel has no {name}"));
        }
        if !Tool::is_here(maker) {
            return Err(format!("`{maker}` is not installed here"));
        }
        let make = || -> Result<Self> {
            let folder = tempfile::Builder::new()
                .prefix("microagent-test-mount-")
                .tempdir()?;
            let disk = folder.path().join("disk");
            let file = std::fs::File::create_new(&disk)?;
            file.set_len(bytes).context("cannot make a sparse file")?;
            Tool::new(maker).args(words).arg(&disk).ok()?;
            std::fs::create_dir(folder.path().join("mounted"))?;
            let made = Self { folder };
            Tool::new("mount")
                .args(["-o", "loop", "-t", name])
                .args([&disk, &made.path()])
                .ok()?;
            Ok(made)
        };
        make().map_err(|error| format!("{name} cannot be mounted here: {error:#}"))
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Bytes in use on it, once everything is written.
    pub fn used_bytes(&self) -> Result<u64> {
        Tool::new("sync").arg("-f").arg(self.path()).ok()?;
        used(&self.path())
    }
}

fn used(at: &Path) -> Result<u64> {
    let text = Tool::new("df")
        .args(["--output=used", "--block-size=1"])
        .arg(at)
        .output_text()?;
    Ok(text.lines().last().unwrap_or_default().trim().parse()?)
}

impl Drop for SharedBlocks {
    fn drop(&mut self) {
        // What still uses it keeps it until it ends; the file goes with the last of them.
        let _ = Tool::new("umount").arg("--lazy").arg(self.path()).ok();
    }
}
