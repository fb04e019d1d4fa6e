//! `cargo xtask demo [-- COMMAND…]`: from a fresh checkout to a command in a microVM.
//!
//! It sets up, installs into the target folder, makes a real Debian root filesystem with
//! mmdebstrap (once, into the cache) and runs a command in it; its exit code is the guest's. It
//! shows the product and tests nothing, and it leaves the user's own workspaces alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::install;
use crate::places::Places;
use crate::setup;
use crate::shell::Run;

/// The release that the demonstration boots.
const SUITE: &str = "bookworm";
const COMMAND: &[&str] = &["sh", "-c", "uname -a; cat /etc/os-release"];

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The command to run in the guest, in place of showing its kernel and its distribution
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs the chore; the exit code is the guest's.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    setup::ensure(&places, setup::Scope::Run)?;
    let prefix = places.target.join("demo");
    install::install(&places, &prefix)?;
    let rootfs = rootfs(&places)?;
    let command: Vec<&str> = if arguments.command.is_empty() {
        COMMAND.to_vec()
    } else {
        arguments.command.iter().map(String::as_str).collect()
    };
    let source = format!("rootfs:{}", rootfs.display());
    eprintln!("demo: microagent run {source} -- {}", command.join(" "));
    let status = Run::new(prefix.join("bin/microagent"))
        .args(["run", &source, "--"])
        .args(command)
        .env("MICROAGENT_STATE_DIR", prefix.join("state"))
        .status()?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn rootfs(places: &Places) -> Result<PathBuf> {
    let path = places
        .cache
        .join("demo")
        .join(format!("debian-{SUITE}.tar"));
    if !path.is_file() {
        make(&path)?;
    }
    Ok(path)
}

fn make(path: &Path) -> Result<()> {
    let folder = path.parent().context("a file needs a folder")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    eprintln!("demo: making a Debian {SUITE} root filesystem, once");
    let unfinished = folder.join(format!("unfinished-{}.tar", std::process::id()));
    let made = Run::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", SUITE])
        .arg(&unfinished)
        .ok();
    if made.is_err() {
        // What was written before the failure is of no use to anybody.
        let _ = std::fs::remove_file(&unfinished);
    }
    made?;
    std::fs::rename(&unfinished, path)
        .with_context(|| format!("cannot publish `{}`", path.display()))
}
