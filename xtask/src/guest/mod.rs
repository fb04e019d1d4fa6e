//! `cargo xtask guest`: the guest init as a static program, packed into the initramfs that ships.
//!
//! The program must run with nothing beside it and stay small, since it is memory in every
//! workspace. Three ways to link it, best first: Rust's musl target where it is installed; the GNU
//! target with musl's C library (`musl-gcc`, a Debian package) and a shim of two functions; the GNU
//! target with glibc, which is larger than the limit allows for all but the smallest program and
//! then fails here with the size. For another architecture than this machine's see `foreign`.
//! It must not know what the guest init does.

mod elf;
mod foreign;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cpio::{self, Content, Entry};
use crate::kernel::Arch;
use crate::places::Places;
use crate::shell::{self, Run};

/// The promise of the product: guest init is under 1 MiB.
const PROGRAM_BYTES_MAX: usize = 1024 * 1024;
const PACKAGE: &str = "microagent-guestinit";
const SHIM: &str = include_str!("libc_shim.c");

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The guest's architecture; this host's when left out
    #[arg(long)]
    arch: Option<Arch>,
}

/// How the program gets its C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linking {
    MuslTarget,
    MuslLibrary,
    Glibc,
    /// Made on a machine of another architecture.
    Foreign,
}

/// Runs the chore: prints the path of the initramfs.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let arch = match arguments.arch {
        Some(arch) => arch,
        None => Arch::of_this_host()?,
    };
    println!("{}", build(&Places::find()?, arch)?.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the program and packs it; gives the path of the cpio.
pub(crate) fn build(places: &Places, arch: Arch) -> Result<PathBuf> {
    let output = places.target.join("guest");
    std::fs::create_dir_all(&output)
        .with_context(|| format!("cannot make `{}`", output.display()))?;
    let (linking, program) = if arch.tool_prefix().is_empty() {
        let linking = choose()?;
        (linking, compile(places, linking, &output)?)
    } else {
        (Linking::Foreign, foreign::compile(places, arch, &output)?)
    };
    let bytes =
        std::fs::read(&program).with_context(|| format!("cannot read `{}`", program.display()))?;
    check(&bytes, linking).with_context(|| format!("`{}`", program.display()))?;
    let archive = cpio::archive(&[
        Entry {
            name: "dev",
            permissions: 0o755,
            content: Content::Directory,
        },
        // The kernel opens it for PID 1 before anything can be mounted on /dev.
        Entry {
            name: "dev/console",
            permissions: 0o600,
            content: Content::CharacterDevice { major: 5, minor: 1 },
        },
        Entry {
            name: "init",
            permissions: 0o755,
            content: Content::File(&bytes),
        },
    ])?;
    let path = output.join(format!("{PACKAGE}-{}.cpio", arch.name()));
    let unfinished = path.with_extension("cpio.new");
    std::fs::write(&unfinished, archive)
        .with_context(|| format!("cannot write `{}`", unfinished.display()))?;
    std::fs::rename(&unfinished, &path)
        .with_context(|| format!("cannot publish `{}`", path.display()))?;
    eprintln!(
        "guest: {} KiB, linked with {}",
        bytes.len().div_ceil(1024),
        linking.name()
    );
    Ok(path)
}

impl Linking {
    fn name(self) -> &'static str {
        match self {
            Self::MuslTarget => "Rust's musl target",
            Self::MuslLibrary => "the GNU target and musl's C library",
            Self::Glibc => "the GNU target and glibc",
            Self::Foreign => "the GNU target and musl's C library, for another architecture",
        }
    }

    fn target(self) -> String {
        let suffix = match self {
            Self::MuslTarget => "musl",
            Self::MuslLibrary | Self::Glibc | Self::Foreign => "gnu",
        };
        format!("{}-unknown-linux-{suffix}", std::env::consts::ARCH)
    }
}

fn choose() -> Result<Linking> {
    let folder = Run::new("rustc")
        .args(["--print", "target-libdir", "--target"])
        .arg(Linking::MuslTarget.target())
        .output()?;
    Ok(if Path::new(folder.trim()).is_dir() {
        Linking::MuslTarget
    } else if shell::is_on_path("musl-gcc") {
        Linking::MuslLibrary
    } else {
        Linking::Glibc
    })
}

fn compile(places: &Places, linking: Linking, output: &Path) -> Result<PathBuf> {
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
    ];
    if linking == Linking::MuslLibrary {
        let source = output.join("libc_shim.c");
        let object = output.join("libc_shim.o");
        std::fs::write(&source, SHIM)
            .with_context(|| format!("cannot write `{}`", source.display()))?;
        Run::new("musl-gcc")
            .args(["-c", "-Os", "-Wall", "-Werror", "-o"])
            .arg(&object)
            .arg(&source)
            .ok()?;
        flags.push("-Clinker=musl-gcc".to_owned());
        flags.push(format!("-Clink-arg={}", object.display()));
        // The shim stands behind the library and calls into it.
        flags.push("-Clink-arg=-Wl,-Bstatic".to_owned());
        flags.push("-Clink-arg=-lc".to_owned());
    }
    let target = linking.target();
    // Encoded flags win over any that the environment or a configuration file sets, and with a
    // target named they do not reach build scripts.
    Run::new(shell::cargo())
        .args(["build", "--quiet", "--package", PACKAGE, "--bin", PACKAGE])
        .args(["--profile", "guest", "--target", &target])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .current_dir(&places.root)
        .ok()?;
    Ok(places.target.join(target).join("guest").join(PACKAGE))
}

fn check(program: &[u8], linking: Linking) -> Result<()> {
    if elf::has_interpreter(program)? {
        bail!("it asks for a dynamic loader, and the initramfs has none");
    }
    if program.len() > PROGRAM_BYTES_MAX {
        bail!(
            "it has {} bytes, {PROGRAM_BYTES_MAX} are allowed; it was linked with {}{}",
            program.len(),
            linking.name(),
            match linking {
                Linking::Glibc => "; `cargo xtask setup` installs the smaller musl",
                Linking::MuslTarget | Linking::MuslLibrary | Linking::Foreign => "",
            }
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_beyond_the_limit_is_refused_and_one_at_it_is_not() {
        let mut program = vec![0; PROGRAM_BYTES_MAX];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[54] = 56;
        check(&program, Linking::Glibc).unwrap();
        program.push(0);
        let text = check(&program, Linking::Glibc).unwrap_err().to_string();
        assert!(text.contains("1048577 bytes"), "{text}");
        assert!(text.contains("cargo xtask setup"), "{text}");
    }
}
