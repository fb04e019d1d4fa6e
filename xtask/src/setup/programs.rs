//! Programs from crates.io: built once into the cache, each version in a folder of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Scope;
use crate::places::Places;
use crate::shell::{self, Run};

struct Program {
    scope: Scope,
    package: &'static str,
    version: &'static str,
    name: &'static str,
    /// Whether any version on `PATH` does as well.
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Ours alone: it is installed beside the product.
    CacheOnly,
    /// A developer's own will do.
    PathOrCache,
}

const PROGRAMS: &[Program] = &[
    Program {
        scope: Scope::Run,
        package: "vhost-device-vsock",
        version: "0.3.0",
        name: "vhost-device-vsock",
        source: Source::CacheOnly,
    },
    Program {
        scope: Scope::Test,
        package: "cargo-nextest",
        version: "0.9.143",
        name: "cargo-nextest",
        source: Source::PathOrCache,
    },
    Program {
        scope: Scope::Everything,
        package: "cargo-deny",
        version: "0.20.2",
        name: "cargo-deny",
        source: Source::PathOrCache,
    },
    Program {
        scope: Scope::Everything,
        package: "typos-cli",
        version: "1.52.0",
        name: "typos",
        source: Source::PathOrCache,
    },
    Program {
        scope: Scope::OnDemand,
        package: "mdbook",
        version: "0.5.4",
        name: "mdbook",
        source: Source::CacheOnly,
    },
    Program {
        scope: Scope::OnDemand,
        package: "cargo-semver-checks",
        version: "0.51.0",
        name: "cargo-semver-checks",
        source: Source::PathOrCache,
    },
];

/// Builds what is missing.
pub(crate) fn ensure(places: &Places, scope: Scope) -> Result<()> {
    for program in PROGRAMS {
        if program.scope <= scope && program.find(places).is_none() {
            program.install(places)?;
        }
    }
    Ok(())
}

/// The path of one of these programs, which is built when it is missing.
pub(crate) fn obtain(places: &Places, name: &str) -> Result<PathBuf> {
    let program = PROGRAMS.iter().find(|program| program.name == name);
    let program = program.with_context(|| format!("`{name}` is none of the known programs"))?;
    if program.find(places).is_none() {
        program.install(places)?;
    }
    program
        .find(places)
        .with_context(|| format!("`{name}` was built and is not there"))
}

/// The path of one of these programs, when it is there.
pub(crate) fn find(places: &Places, name: &str) -> Option<PathBuf> {
    PROGRAMS
        .iter()
        .find(|program| program.name == name)
        .and_then(|program| program.find(places))
}

/// The version of one of these programs.
pub(crate) fn version(name: &str) -> Option<&'static str> {
    let program = PROGRAMS.iter().find(|program| program.name == name)?;
    Some(program.version)
}

/// `PATH` with the cached programs at its end, so that cargo finds its subcommands there.
pub(crate) fn search_path(places: &Places) -> Result<OsString> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let cached = PROGRAMS
        .iter()
        .filter(|program| program.source == Source::PathOrCache)
        .map(|program| program.folder(places).join("bin"));
    std::env::join_paths(std::env::split_paths(&own).chain(cached))
        .context("the cache folder's path has a colon, so it can't be part of PATH")
}

impl Program {
    fn folder(&self, places: &Places) -> PathBuf {
        places
            .cache
            .join("tools")
            .join(format!("{}-{}", self.package, self.version))
    }

    fn find(&self, places: &Places) -> Option<PathBuf> {
        let cached = self.folder(places).join("bin").join(self.name);
        if cached.is_file() {
            return Some(cached);
        }
        match self.source {
            Source::CacheOnly => None,
            Source::PathOrCache => shell::on_path(self.name),
        }
    }

    fn install(&self, places: &Places) -> Result<()> {
        let folder = self.folder(places);
        eprintln!(
            "setup: building {} {} from crates.io; this takes some minutes, once",
            self.package, self.version
        );
        // Its own target folder, so that the sources of another program never touch ours.
        let target = scratch(&folder);
        let outcome = Run::new(shell::cargo())
            .args(["install", "--quiet", "--locked", "--version", self.version])
            .arg("--root")
            .arg(&folder)
            .arg("--target-dir")
            .arg(&target)
            .arg(self.package)
            .current_dir(&places.root)
            .ok();
        match std::fs::remove_dir_all(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                eprintln!("note: cannot remove `{}`: {error}", target.display());
            }
            _ => {}
        }
        outcome.with_context(|| {
            format!(
                "cannot install `{}`; crates.io must be reachable",
                self.package
            )
        })
    }
}

fn scratch(folder: &Path) -> PathBuf {
    folder.join("build")
}
