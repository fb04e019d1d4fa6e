//! `cargo xtask install --prefix DIR`: the product, laid out as it is found at run time.
//!
//! ```text
//! bin/microagent
//! libexec/microagent-qemu-supervisor, vhost-device-vsock
//! libexec/microagent-firecracker-supervisor
//! libexec/microagent-guestinit-<arch>.cpio
//! libexec/kernels/<backend>/<arch>/Image, kernel.json
//! ```
//!
//! Every file appears by rename, so a program that runs meanwhile keeps its own, and a chore that
//! is interrupted leaves no torn file. It must not touch anything else under the prefix.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::guest;
use crate::kernel::{self, Arch, Backend};
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};

/// A program of ours: its package, its name, its folder under the prefix.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("microagent-cli", "microagent", "bin"),
    (
        "microagent-qemu-supervisor",
        "microagent-qemu-supervisor",
        "libexec",
    ),
    (
        "microagent-firecracker-supervisor",
        "microagent-firecracker-supervisor",
        "libexec",
    ),
];

const MODE_PROGRAM: u32 = 0o755;
const MODE_DATA: u32 = 0o644;

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to install; `~/.local` when left out
    #[arg(long)]
    prefix: Option<PathBuf>,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    let prefix = match &arguments.prefix {
        Some(prefix) => std::path::absolute(prefix)
            .with_context(|| format!("cannot resolve `{}`", prefix.display()))?,
        None => PathBuf::from(
            std::env::var_os("HOME").context("HOME is not set; name a folder with --prefix")?,
        )
        .join(".local"),
    };
    setup::ensure(&places, setup::Scope::Run)?;
    install(&places, &prefix)?;
    eprintln!("installed: {}", prefix.join("bin/microagent").display());
    Ok(ExitCode::SUCCESS)
}

/// The packages whose programs ship.
pub(crate) fn packages() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(package, _, _)| *package)
}

/// Builds release programs and lays them out under the prefix. What setup provides must be there.
pub(crate) fn install(places: &Places, prefix: &Path) -> Result<()> {
    let mut build = Run::new(shell::cargo())
        .args(["build", "--quiet", "--release"])
        .current_dir(&places.root);
    for (package, program, _) in PROGRAMS {
        build = build.args(["--package", package, "--bin", program]);
    }
    build.ok()?;
    for (_, program, folder) in PROGRAMS {
        put(
            &places.target.join("release").join(program),
            &prefix.join(folder).join(program),
            MODE_PROGRAM,
        )?;
    }

    let libexec = prefix.join("libexec");
    let initramfs = guest::build(places, Arch::of_this_host()?)?;
    let name = initramfs
        .file_name()
        .context("the initramfs has no name")?
        .to_owned();
    put(&initramfs, &libexec.join(name), MODE_DATA)?;

    let device = "vhost-device-vsock";
    let program = setup::find_program(places, device)
        .with_context(|| format!("`{device}` is missing; `cargo xtask setup` builds it"))?;
    put(&program, &libexec.join(device), MODE_PROGRAM)?;

    let arch = Arch::of_this_host()?;
    for backend in Backend::LINUX {
        let kernel = kernel::ensure(places, backend, arch)?;
        let folder = libexec
            .join("kernels")
            .join(backend.name())
            .join(arch.name());
        put(&kernel.image, &folder.join("Image"), MODE_DATA)?;
        put(&kernel.record, &folder.join("kernel.json"), MODE_DATA)?;
    }
    Ok(())
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let folder = to.parent().context("a file needs a folder")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    std::fs::copy(from, &unfinished)
        .and_then(|_| std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode)))
        .and_then(|()| std::fs::rename(&unfinished, to))
        .with_context(|| format!("cannot install `{}` as `{}`", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_never_written_in_place() {
        let folder = std::env::temp_dir().join(format!("xtask-install-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, target) = (folder.join("source"), folder.join("bin/program"));
        std::fs::write(&source, "first").unwrap();
        put(&source, &target, MODE_PROGRAM).unwrap();
        let kept = std::fs::File::open(&target).unwrap();
        std::fs::write(&source, "second").unwrap();
        put(&source, &target, MODE_PROGRAM).unwrap();
        assert_eq!(std::io::read_to_string(kept).unwrap(), "first");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "second");
        let mode = std::fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, MODE_PROGRAM);
        assert_eq!(std::fs::read_dir(folder.join("bin")).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
