//! A file system that is as full as a case wants it: a tmpfs of a given size, unmounted when dropped.

use anyhow::Result;
use microagent_test::image::Tool;
use std::path::{Path, PathBuf};

/// Its name in the list of mounts, by which it is told from what the product forgot.
const SOURCE: &str = "microagent-test-mount";

/// A small file system.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `at`, which is made.
    pub(crate) fn mount(at: &Path, mebibytes: u32) -> Result<Self> {
        std::fs::create_dir(at)?;
        Tool::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mebibytes}m,mode=0700"))
            .arg(SOURCE)
            .arg(at)
            .ok()?;
        Ok(Self { at: at.to_owned() })
    }

    /// Makes it larger or smaller; what is on it stays.
    pub(crate) fn resize(&self, mebibytes: u32) -> Result<()> {
        Tool::new("mount")
            .arg("-o")
            .arg(format!("remount,size={mebibytes}m"))
            .arg(&self.at)
            .ok()
    }

    /// Lets nothing be written to it, or everything again.
    pub(crate) fn set_writable(&self, writable: bool) -> Result<()> {
        let access = if writable { "rw" } else { "ro" };
        Tool::new("mount")
            .arg("-o")
            .arg(format!("remount,{access}"))
            .arg(&self.at)
            .ok()
    }

    /// The mebibytes in use, rounded up.
    pub(crate) fn used_mebibytes(&self) -> Result<u32> {
        let text = Tool::new("df")
            .args(["--output=used", "--block-size=1M"])
            .arg(&self.at)
            .output_text()?;
        let number = text.lines().last().unwrap_or_default().trim();
        Ok(number.parse()?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A case that failed may have a process in it; the mount goes when that does.
        let _ = Tool::new("umount").arg("--lazy").arg(&self.at).ok();
    }
}
