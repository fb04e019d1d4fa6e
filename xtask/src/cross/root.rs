//! The folder of Debian sid that holds the compiler, its sources and the Windows linker: how it is
//! made, and how a command is run in it.
//!
//! Made once by mmdebstrap into the cache and put in its place by a rename, so an interrupted making
//! leaves nothing that looks finished. Commands see the checkout, fetched crates and the target folder
//! at the same paths as outside, by mounts of a mount namespace of their own: nothing is left mounted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::subjects::{Subject, System};
use crate::places::Places;
use crate::shell::{self, Run};

pub(crate) const MIRROR: &str = "http://deb.debian.org/debian";
const SUITE: &str = "sid";
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "cargo",
    "gcc",
    "gcc-mingw-w64-x86-64",
    "libc6-dev",
    "rust-clippy",
    "rust-src",
    "rustc",
];
/// What is not needed to compile.
const LEFT_OUT: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
];
/// A new number makes the folder anew.
const GENERATION: u32 = 1;

/// Mounts of what a command sees at the same path as outside; the rest is Debian's. The arguments are the
/// folder, the folder to work in, the number of places, the places, and the command.
const ENTER: &str = r#"set -e
root=$1; work=$2; count=$3; shift 3
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$count" -gt 0 ]; do
  mkdir -p "$root$1"
  mount --rbind "$1" "$root$1"
  shift; count=$((count - 1))
done
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$work" "$@""#;

/// The folder, made.
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    /// Makes it when it is not there.
    pub(crate) fn ensure(places: &Places) -> Result<Self> {
        if let Some(root) = Self::find(places) {
            return Ok(root);
        }
        let folder = Self::folder(places);
        let unfinished = folder.with_extension("new");
        let above = folder.parent().context("the cache has a folder")?;
        std::fs::create_dir_all(above)
            .with_context(|| format!("cannot make `{}`", above.display()))?;
        eprintln!(
            "cross: making `{}` once, from Debian {SUITE}",
            folder.display()
        );
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove `{}`", unfinished.display()))?;
        }
        let mut made = Run::new("mmdebstrap").args(["--quiet", "--variant=minbase"]);
        made = made.arg(format!("--include={}", PACKAGES.join(",")));
        for path in LEFT_OUT {
            made = made.arg(format!("--dpkgopt=path-exclude={path}"));
        }
        made.arg(SUITE).arg(&unfinished).arg(MIRROR).ok()?;
        std::fs::rename(&unfinished, &folder)
            .with_context(|| format!("cannot put `{}` in its place", folder.display()))?;
        Ok(Self { folder })
    }

    /// The folder, when it was made before.
    pub(crate) fn find(places: &Places) -> Option<Self> {
        let folder = Self::folder(places);
        folder
            .join("usr/bin/cargo")
            .exists()
            .then_some(Self { folder })
    }

    fn folder(places: &Places) -> PathBuf {
        places
            .cache
            .join("cross")
            .join(format!("{SUITE}-{GENERATION}"))
    }

    /// Type-checks and lints crates for a system.
    pub(crate) fn clippy(
        &self,
        places: &Places,
        system: System,
        subjects: &[Subject],
    ) -> Result<()> {
        let mut words = vec!["clippy".into(), "--quiet".into()];
        for subject in subjects {
            words.extend(["--package".into(), subject.package.clone().into()]);
        }
        self.cargo(places, system, words, &["--", "--deny", "warnings"])
    }

    /// Builds programs for a system: package and name.
    pub(crate) fn build(
        &self,
        places: &Places,
        system: System,
        programs: &[(&str, &str)],
    ) -> Result<()> {
        let mut words = vec!["build".into(), "--quiet".into()];
        for (package, program) in programs {
            words.extend(["--package", *package, "--bin", *program].map(OsString::from));
        }
        self.cargo(places, system, words, &[])
    }

    fn cargo(
        &self,
        places: &Places,
        system: System,
        words: Vec<OsString>,
        last: &[&str],
    ) -> Result<()> {
        let job = Job {
            target: system.target(),
            library: "build-std",
            words,
            last: last.iter().map(OsString::from).collect(),
            flags: None,
            also_seen: Vec::new(),
        };
        self.run(places, job)
            .with_context(|| format!("not every crate is in order for {system}"))
    }

    /// Runs cargo in the folder; products go where [`target`] says.
    pub(crate) fn run(&self, places: &Places, job: Job) -> Result<()> {
        let target = target(places);
        std::fs::create_dir_all(&target)
            .with_context(|| format!("cannot make `{}`", target.display()))?;
        let home = cargo_home()?;
        self.fetch(places, job.target)?;
        // Not all of cargo's home: its programs are those of another toolchain.
        let mut seen = vec![places.root.clone(), home.join("registry")];
        if !target.starts_with(&places.root) {
            seen.push(target.clone());
        }
        seen.extend(job.also_seen);
        let mut run = Run::new("unshare")
            .args([
                "--mount",
                "--map-root-user",
                "--",
                "sh",
                "-c",
                ENTER,
                "enter",
            ])
            .arg(&self.folder)
            .arg(&places.root)
            .arg(seen.len().to_string())
            .args(&seen)
            .args([
                "env",
                "-i",
                "PATH=/usr/bin:/bin",
                "RUSTC_BOOTSTRAP=1",
                "TERM=dumb",
            ])
            .arg(variable("CARGO_HOME", &home))
            .arg(variable("CARGO_TARGET_DIR", &target))
            // C below crates that are never linked for this target is not compiled.
            .args([
                "CC_aarch64_apple_darwin=true",
                "AR_aarch64_apple_darwin=true",
            ]);
        if let Some(flags) = job.flags {
            run = run.arg(format!("CARGO_ENCODED_RUSTFLAGS={}", flags.join("\x1f")));
        }
        run.arg("cargo")
            .args(job.words)
            .args(["--offline", "--locked", "-Z", job.library])
            .args(["--target", job.target])
            .args(job.last)
            .ok()
    }

    /// The sources of what our crates and the standard library use are fetched outside, where the network
    /// and its proxies are known.
    fn fetch(&self, places: &Places, target: &str) -> Result<()> {
        for manifest in [places.root.join("Cargo.toml"), self.folder.join(LIBRARY)] {
            Run::new(shell::cargo())
                .args(["fetch", "--quiet", "--locked", "--target", target])
                .arg("--manifest-path")
                .arg(manifest)
                .current_dir(&places.root)
                .env("RUSTC_BOOTSTRAP", "1")
                .ok()?;
        }
        Ok(())
    }
}

/// One call of cargo in the folder.
pub(crate) struct Job {
    /// What is compiled for.
    pub(crate) target: &'static str,
    /// The unstable option that says which parts of the standard library are built.
    pub(crate) library: &'static str,
    /// The command and its options.
    pub(crate) words: Vec<OsString>,
    /// What stands behind the options.
    pub(crate) last: Vec<OsString>,
    /// The compiler's flags, in place of those of the environment and of configuration files.
    pub(crate) flags: Option<Vec<String>>,
    /// Folders that are seen at the same path as outside, besides those of every call.
    pub(crate) also_seen: Vec<PathBuf>,
}

/// Where these builds go: another compiler's products than those of the checkout.
pub(crate) fn target(places: &Places) -> PathBuf {
    places.target.join("cross")
}

/// Where Debian keeps the sources of the standard library.
const LIBRARY: &str = "usr/lib/rustlib/src/rust/library/Cargo.toml";

fn cargo_home() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(folder));
    }
    let home = std::env::var_os("HOME").context("HOME is not set, so cargo has no home")?;
    Ok(Path::new(&home).join(".cargo"))
}

fn variable(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(format!("{name}="));
    text.push(value);
    text
}
