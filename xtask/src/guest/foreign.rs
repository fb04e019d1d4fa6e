//! The guest init for an architecture that this machine does not have.
//!
//! No toolchain here brings a standard library for it, so the library is built with the program, by
//! Debian's compiler in the folder of `cargo xtask cross`; musl's C library comes out of Debian's package
//! for that architecture, gcc's part from the cross compiler that makes the kernel, and the linker is the
//! one that comes with Rust. Nothing of that architecture is run here.
//!
//! ```text
//! musl-dev, unpacked ─┐
//! gcc's libraries ────┼─► target/guest/<arch>/ ─► cargo rustc -Z build-std, linked by rust-lld
//! the shim, compiled ─┘
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{PACKAGE, SHIM};
use crate::cross::root::{self, Job, MIRROR, Root};
use crate::kernel::Arch;
use crate::places::Places;
use crate::shell::Run;

/// What of gcc a static program needs: its start, its end, and functions that the compiler calls.
const GCC_PARTS: [&str; 4] = ["crtbeginT.o", "crtend.o", "libgcc.a", "libgcc_eh.a"];
/// Where musl's package comes from.
const SUITE: &str = "bookworm";
/// A new number unpacks musl anew.
const GENERATION: u32 = 1;

/// Compiles and links it; gives its path.
pub(super) fn compile(places: &Places, arch: Arch, output: &Path) -> Result<PathBuf> {
    let target = match arch {
        Arch::Amd64 => "x86_64-unknown-linux-gnu",
        Arch::Arm64 => "aarch64-unknown-linux-gnu",
    };
    let libraries = libraries(places, arch, output)?;
    let toolchain = Run::new("rustc").args(["--print", "sysroot"]).output()?;
    let toolchain = PathBuf::from(toolchain.trim());
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let linker = toolchain
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    if !linker.is_file() {
        bail!("there is no `{}`, which links it", linker.display());
    }
    let part = |name: &str| libraries.join(name).display().to_string();
    let mut last: Vec<String> = vec![
        "--".to_owned(),
        format!("-Clinker={}", linker.display()),
        "-Clinker-flavor=gnu-lld".to_owned(),
        "-Zunstable-options".to_owned(),
    ];
    let before = ["crt1.o", "crti.o", "crtbeginT.o"].map(part);
    last.extend(before.map(|part| format!("-Zpre-link-arg={part}")));
    last.push(format!("-Clink-arg=-L{}", libraries.display()));
    // The shim stands behind the library and calls into it.
    let shim = part("libc_shim.o");
    for word in [
        &shim,
        "--start-group",
        "-lc",
        "-lgcc",
        "-lgcc_eh",
        "--end-group",
    ] {
        last.push(format!("-Clink-arg={word}"));
    }
    let behind = ["crtend.o", "crtn.o"].map(part);
    last.extend(behind.map(|part| format!("-Clink-arg={part}")));
    let words = [
        "rustc",
        "--quiet",
        "--package",
        PACKAGE,
        "--bin",
        PACKAGE,
        "--profile",
        "guest",
    ];
    let job = Job {
        target,
        library: "build-std=std,panic_abort",
        words: words.map(OsString::from).to_vec(),
        last: last.into_iter().map(OsString::from).collect(),
        flags: Some(vec![
            "-Ctarget-feature=+crt-static".to_owned(),
            "-Crelocation-model=static".to_owned(),
        ]),
        also_seen: vec![toolchain],
    };
    Root::ensure(places)?.run(places, job)?;
    let products = root::target(places).join(target);
    Ok(products.join("guest").join(PACKAGE))
}

/// Everything that is linked and is not Rust, in one folder below the target folder, which the compiler
/// sees.
fn libraries(places: &Places, arch: Arch, output: &Path) -> Result<PathBuf> {
    let folder = output.join(arch.name());
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    let musl = musl(places, arch)?;
    let entries =
        std::fs::read_dir(&musl).with_context(|| format!("cannot list `{}`", musl.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_part = path.extension().is_some_and(|end| end == "a" || end == "o");
        if is_part {
            copy_into(&path, &folder)?;
        }
    }
    let compiler = format!("{}gcc", arch.tool_prefix());
    for part in GCC_PARTS {
        let path = Run::new(&compiler)
            .arg(format!("-print-file-name={part}"))
            .output()
            .with_context(|| {
                let package = arch.compiler_package();
                format!("Debian: apt-get install {package}")
            })?;
        copy_into(Path::new(path.trim()), &folder)?;
    }
    let source = folder.join("libc_shim.c");
    std::fs::write(&source, SHIM)
        .with_context(|| format!("cannot write `{}`", source.display()))?;
    Run::new(&compiler)
        .args(["-c", "-Os", "-Wall", "-Werror", "-o"])
        .arg(folder.join("libc_shim.o"))
        .arg(&source)
        .ok()?;
    Ok(folder)
}

fn copy_into(path: &Path, folder: &Path) -> Result<()> {
    let name = path.file_name().context("a library has a name")?;
    std::fs::copy(path, folder.join(name))
        .map(drop)
        .with_context(|| format!("cannot copy `{}`", path.display()))
}

/// The folder of musl's library, unpacked once from Debian's package into the cache.
fn musl(places: &Places, arch: Arch) -> Result<PathBuf> {
    let name = format!("musl-{}-{GENERATION}", arch.name());
    let folder = places.cache.join("cross").join(name);
    let inside = format!("usr/lib/{}-linux-musl", arch.machine_name());
    let libraries = folder.join(inside);
    if libraries.join("libc.a").is_file() {
        return Ok(libraries);
    }
    let unfinished = folder.with_extension("new");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)
            .with_context(|| format!("cannot remove `{}`", unfinished.display()))?;
    }
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)
            .with_context(|| format!("cannot make `{}`", above.display()))?;
    }
    eprintln!("guest: unpacking musl for {} once", arch.name());
    Run::new("mmdebstrap")
        .args(["--quiet", "--variant=extract", "--include=musl-dev"])
        .arg(format!("--architectures={}", arch.name()))
        .arg(SUITE)
        .arg(&unfinished)
        .arg(MIRROR)
        .ok()?;
    std::fs::rename(&unfinished, &folder)
        .with_context(|| format!("cannot put `{}` in its place", folder.display()))?;
    Ok(libraries)
}
