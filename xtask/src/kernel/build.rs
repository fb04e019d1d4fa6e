//! The build itself: unpack, resolve, compare, compile, strip, publish by rename.
//!
//! Everything happens in a scratch folder beside the cache entry, so an interrupted build leaves no
//! entry that looks finished. The source tree is a gigabyte and a half and is removed afterwards.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Arch;
use super::fragments::{self, Options};
use super::required::Required;
use super::source::{Source, hex, sha256_of};
use crate::places::Places;
use crate::shell::{self, Run};

/// Raised when this file changes what comes out of the same source and configuration.
const RECIPE: u32 = 1;

/// The name of a kernel's folder in the cache.
pub(crate) fn key(version: &str, arch: Arch, merged: &Options) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{RECIPE}\n{version}\n{}\n", arch.name()));
    hasher.update(fragments::text(merged));
    hex(&hasher.finalize())[..16].to_owned()
}

/// Builds into `folder`, which appears complete or not at all.
pub(crate) fn build(
    places: &Places,
    source: &Source,
    version: &str,
    arch: Arch,
    merged: &Options,
    required: &Required,
    folder: &Path,
) -> Result<()> {
    let started = Instant::now();
    source.verify(version)?;
    let scratch = places.kernels().join("scratch");
    remove(&scratch)?;
    let output = scratch.join("output");
    let tree = scratch.join("tree");
    make_dir(&output)?;
    make_dir(&tree)?;

    eprintln!("kernel: unpacking {}", source.archive.display());
    Run::new("tar")
        .arg("--extract")
        .arg("--strip-components=1")
        .arg("--file")
        .arg(&source.archive)
        .arg("--directory")
        .arg(&tree)
        .ok()?;

    let fragment = scratch.join("fragment");
    write(&fragment, fragments::text(merged).as_bytes())?;
    let goal = Goal::of(arch)?;
    make(arch, &tree, &output, &scratch.join("resolve.log"), |run| {
        run.env("KCONFIG_ALLCONFIG", &fragment).arg("allnoconfig")
    })?;
    let config = output.join(".config");
    let resolved = fragments::parse(
        &std::fs::read_to_string(&config)
            .with_context(|| format!("cannot read `{}`", config.display()))?,
    )?;
    required.check(&resolved)?;
    let dropped = fragments::dropped(merged, &resolved);
    if !dropped.is_empty() {
        bail!(
            "the resolver changed options that a fragment sets:\n  {}",
            dropped.join("\n  ")
        );
    }

    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("kernel: compiling {version} with {jobs} jobs; this takes some minutes, once");
    make(arch, &tree, &output, &scratch.join("build.log"), |run| {
        run.arg(format!("-j{jobs}")).arg(goal.name)
    })?;

    let ready = scratch.join("ready");
    make_dir(&ready)?;
    let image = ready.join("Image");
    goal.publish(&output, &image)?;
    std::fs::copy(&config, ready.join("config")).context("cannot keep the configuration")?;
    let record = serde_json::json!({
        "schema": 1,
        "version": version.split(['-', '+']).next().unwrap_or(version),
        "arch": arch.name(),
        "sha256": sha256_of(&image)?,
        "configSha256": hex(&Sha256::digest(fragments::text(merged))),
        "source": format!("{} {version}", source.package),
    });
    write(
        &ready.join("kernel.json"),
        format!("{record:#}\n").as_bytes(),
    )?;
    std::fs::rename(&ready, folder)
        .with_context(|| format!("cannot publish `{}`", folder.display()))?;
    remove(&scratch)?;
    eprintln!(
        "kernel: built in {} s: {}",
        started.elapsed().as_secs(),
        folder.display()
    );
    Ok(())
}

/// What the kernel's make is asked for, and what becomes of it.
struct Goal {
    name: &'static str,
    /// Below the output folder.
    product: &'static str,
    form: Form,
}

/// In what form a VMM boots a kernel.
enum Form {
    /// An ELF file, whose symbols are of no use to it.
    Elf,
    /// The bytes as they lie in memory.
    Flat,
}

impl Goal {
    /// The uncompressed form that VMMs load directly. An error when its tools are missing.
    fn of(arch: Arch) -> Result<Self> {
        let compiler = format!("{}gcc", arch.tool_prefix());
        if !shell::is_on_path(&compiler) {
            let package = arch.compiler_package();
            bail!("`{compiler}` is not installed; Debian: apt-get install {package}");
        }
        Ok(match arch {
            Arch::Amd64 => Self {
                name: "vmlinux",
                product: "vmlinux",
                form: Form::Elf,
            },
            Arch::Arm64 => Self {
                name: "Image",
                product: "arch/arm64/boot/Image",
                form: Form::Flat,
            },
        })
    }

    fn publish(&self, output: &Path, image: &Path) -> Result<()> {
        let product = output.join(self.product);
        match self.form {
            Form::Elf => Run::new("strip")
                .arg("--strip-all")
                .arg("-o")
                .arg(image)
                .arg(&product)
                .ok(),
            Form::Flat => std::fs::copy(&product, image)
                .map(drop)
                .with_context(|| format!("cannot copy `{}`", product.display())),
        }
    }
}

/// Runs the kernel's make, niced, with everything fixed that would make two builds differ.
fn make(
    arch: Arch,
    tree: &Path,
    output: &Path,
    log: &Path,
    goal: impl FnOnce(Run) -> Run,
) -> Result<()> {
    let run = Run::new("nice")
        .arg("make")
        .arg("-C")
        .arg(tree)
        .arg(format!("O={}", output.display()))
        .arg(format!("ARCH={}", arch.kernel_name()))
        .arg(format!("CROSS_COMPILE={}", arch.tool_prefix()))
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01 00:00:00 UTC")
        .env("KBUILD_BUILD_USER", "microagent")
        .env("KBUILD_BUILD_HOST", "microagent")
        .env("KBUILD_BUILD_VERSION", "1")
        .log_to(log)?;
    goal(run)
        .ok()
        .with_context(|| format!("the last lines of `{}`:\n{}", log.display(), tail(log)))
}

fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}

fn make_dir(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
}
