//! Firecracker alone: the real binary with a file of settings and no API, with the same kernel, initramfs,
//! command line and disk as the product's, and a first process that resets at once.
//!
//! The command line is the one that a guest of the product was booted with, less what Firecracker adds
//! itself, so the two can't drift apart.

use crate::bench::{Bench, debian_source, timed};
use crate::raw_qemu::{PROGRAM_NAME, installed, make_initramfs};
use anyhow::{Context as _, Result, bail};
use microagent_test::image::Tool;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The program, by the name under which the product finds it too.
const PROGRAM: &str = "firecracker";
/// What the product's guests and the reference both have.
pub(crate) const MACHINE: [&str; 4] = ["--cpus", "1", "--memory", "256M"];
/// Words that Firecracker adds.
const ADDED: [&str; 2] = ["virtio_mmio.device=", "pci=off"];

/// A machine that boots and resets.
#[derive(Debug)]
pub(crate) struct RawFirecracker {
    program: PathBuf,
    settings: PathBuf,
}

impl RawFirecracker {
    /// Learns the words from a run of the product, whose images must then be in its home.
    pub(crate) fn like_the_product(bench: &Bench) -> Result<Self> {
        let finished = bench
            .microagent()
            .args(["run", "--network", "isolated"])
            .args(MACHINE)
            .args([&debian_source()?, "--", "cat", "/proc/cmdline"])
            .run()?
            .expect_code(0)?;
        let folder = bench.home().work_dir();
        let initramfs = folder.join("initramfs");
        make_initramfs(bench.prefix(), &initramfs)?;
        let disk = folder.join("raw.ext4");
        Tool::new("cp")
            .arg("--reflink=auto")
            .arg(image_disk(bench)?)
            .arg(&disk)
            .ok()?;
        let settings = json!({
            "boot-source": {
                "kernel_image_path": installed(bench.prefix(), "kernels/firecracker", "Image")?,
                "initrd_path": initramfs,
                "boot_args": command_line(&finished.stdout_text()),
            },
            "machine-config": {"vcpu_count": 1, "mem_size_mib": 256, "smt": false},
            "drives": [{
                "drive_id": "rootfs",
                "path_on_host": disk,
                "is_root_device": false,
                "is_read_only": false,
                "cache_type": "Writeback",
            }],
        });
        let path = folder.join("settings.json");
        std::fs::write(&path, settings.to_string())?;
        Ok(Self {
            program: program().context("there is no `firecracker` on PATH")?,
            settings: path,
        })
    }

    /// From its start to its end.
    pub(crate) fn run(&self) -> Result<Duration> {
        timed(|| {
            let status = Command::new(&self.program)
                .args(["--no-api", "--config-file"])
                .arg(&self.settings)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .context("cannot start Firecracker")?;
            if !status.success() {
                bail!("bare Firecracker ended with {status}");
            }
            Ok(())
        })
    }
}

/// Whether there is one.
pub(crate) fn program() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(PROGRAM))
        .find(|program| program.is_file())
}

fn command_line(of_guest: &str) -> String {
    let own = of_guest
        .split_whitespace()
        .filter(|word| !ADDED.iter().any(|added| word.starts_with(added)));
    let mut words: Vec<&str> = own.collect();
    let first = format!("rdinit=/{PROGRAM_NAME}");
    words.push(&first);
    words.join(" ")
}

fn image_disk(bench: &Bench) -> Result<PathBuf> {
    let images = bench.home().state_listing();
    let disk = images.iter().find(|entry| {
        entry.path.starts_with("images/")
            && Path::new(&entry.path)
                .extension()
                .is_some_and(|extension| extension == "ext4")
    });
    let disk = disk.context("no image is cached")?;
    Ok(bench.home().state_dir().join(&disk.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_firecracker_adds_is_not_given_to_it_again() {
        let guest =
            "console=ttyS0 quiet microagent.end=reset pci=off virtio_mmio.device=4K@0xd0000000:5\n";
        assert_eq!(
            command_line(guest),
            "console=ttyS0 quiet microagent.end=reset rdinit=/off"
        );
    }
}
