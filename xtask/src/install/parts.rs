//! What ships, built: every file with its place below a prefix.
//!
//! ```text
//! bin/microagent
//! libexec/microagent-qemu-supervisor, vhost-device-vsock
//! libexec/microagent-firecracker-supervisor
//! libexec/microagent-guestinit-<arch>.cpio
//! libexec/kernels/<backend>/<arch>/Image, kernel.json
//! share/bash-completion/…, share/fish/…, share/zsh/…, share/man/man1/…
//! ```
//!
//! The one list that an installation, a Debian package and a release archive are made from, so that what was
//! tested is what ships. It builds and puts nothing anywhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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

/// A shell, and where its completions are looked for.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "share/bash-completion/completions/microagent"),
    ("fish", "share/fish/vendor_completions.d/microagent.fish"),
    ("zsh", "share/zsh/site-functions/_microagent"),
];

const MODE_PROGRAM: u32 = 0o755;
const MODE_DATA: u32 = 0o644;

/// One file that ships.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// Its place below the prefix.
    pub(crate) to: PathBuf,
    /// Where it was built.
    pub(crate) from: PathBuf,
    /// Its permissions.
    pub(crate) mode: u32,
}

impl Part {
    fn program(from: PathBuf, to: impl Into<PathBuf>) -> Self {
        Self {
            to: to.into(),
            from,
            mode: MODE_PROGRAM,
        }
    }

    fn data(from: PathBuf, to: impl Into<PathBuf>) -> Self {
        Self {
            to: to.into(),
            from,
            mode: MODE_DATA,
        }
    }
}

/// The packages whose programs ship.
pub(crate) fn packages() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(package, _, _)| *package)
}

/// Builds everything that ships; in the order of the places. What setup provides must be there.
pub(crate) fn build(places: &Places) -> Result<Vec<Part>> {
    let mut build = Run::new(shell::cargo())
        .args(["build", "--quiet", "--release"])
        .current_dir(&places.root);
    for (package, program, _) in PROGRAMS {
        build = build.args(["--package", package, "--bin", program]);
    }
    build.ok()?;
    let release = places.target.join("release");
    let mut parts: Vec<Part> = PROGRAMS
        .iter()
        .map(|(_, program, folder)| {
            Part::program(release.join(program), Path::new(folder).join(program))
        })
        .collect();

    let libexec = Path::new("libexec");
    let arch = Arch::of_this_host()?;
    let initramfs = guest::build(places, arch)?;
    let name = initramfs
        .file_name()
        .context("the initramfs has no name")?
        .to_owned();
    parts.push(Part::data(initramfs, libexec.join(name)));

    let device = "vhost-device-vsock";
    let program = setup::find_program(places, device)
        .with_context(|| format!("`{device}` is missing; `cargo xtask setup` builds it"))?;
    parts.push(Part::program(program, libexec.join(device)));

    for backend in Backend::LINUX {
        let kernel = kernel::ensure(places, backend, arch)?;
        let folder = libexec
            .join("kernels")
            .join(backend.name())
            .join(arch.name());
        parts.push(Part::data(kernel.image, folder.join("Image")));
        parts.push(Part::data(kernel.record, folder.join("kernel.json")));
    }
    parts.extend(texts(&release.join("microagent"), &places.target)?);
    parts.sort();
    Ok(parts)
}

/// Completions and man pages, as the built command itself writes them.
fn texts(program: &Path, target: &Path) -> Result<Vec<Part>> {
    let folder = target.join("share");
    let pages = folder.join("man");
    // A page of a command that is no more must not ship.
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty `{}`", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(&pages)
        .with_context(|| format!("cannot make `{}`", pages.display()))?;
    let mut parts = Vec::new();
    for (shell, to) in COMPLETIONS {
        let script = Run::new(program).args(["completions", shell]).output()?;
        let file = folder.join(format!("completion.{shell}"));
        std::fs::write(&file, script)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        parts.push(Part::data(file, *to));
    }
    Run::new(program)
        .args(["man", "--quiet", "--out"])
        .arg(&pages)
        .output()?;
    let entries =
        std::fs::read_dir(&pages).with_context(|| format!("cannot list `{}`", pages.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list `{}`", pages.display()))?;
        parts.push(Part::data(
            entry.path(),
            Path::new("share/man/man1").join(entry.file_name()),
        ));
    }
    Ok(parts)
}
