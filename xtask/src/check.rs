//! `cargo xtask check`: stages 1 and 2 of the pipeline, what a change must pass before any test
//! runs: format, tidy, supply chain, typos, clippy, documentation.
//!
//! It mends nothing and boots nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::generate;
use crate::install;
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};
use crate::stages::{Outcome, Stages};
use crate::tidy;

/// Runs the chore.
pub(crate) fn run() -> Result<ExitCode> {
    let places = Places::find()?;
    let mut stages = Stages::default();
    run_stages(&places, &mut stages);
    eprintln!("{}", stages.summary());
    Ok(if stages.total().failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The stages, as the beginning of a longer pipeline.
pub(crate) fn run_stages(places: &Places, stages: &mut Stages) {
    let root = &places.root;
    stages.run("1 format", || {
        cargo(root).args(["fmt", "--all", "--check"]).ok()?;
        Ok(Outcome::default())
    });
    stages.run("1 tidy", || {
        let problems = tidy::check(places)?;
        for problem in &problems {
            eprintln!("{problem}");
        }
        if !problems.is_empty() {
            bail!("{} problems", problems.len());
        }
        Ok(Outcome::default())
    });
    stages.run("1 reference pages", || {
        generate::check(places)?;
        Ok(Outcome::default())
    });
    stages.run("1 supply chain", || {
        // The database of advisories is the one part that needs the network.
        with_program(places, "cargo-deny", |program| {
            Run::new(program)
                .args(["--offline", "--log-level", "error"])
                .args(["check", "bans", "licenses", "sources"])
                .current_dir(root)
                .ok()
        })
    });
    stages.run("1 typos", || {
        with_program(places, "typos", |program| {
            Run::new(program).current_dir(root).ok()
        })
    });
    stages.run("2 clippy", || {
        cargo(root)
            .args(["clippy", "--quiet", "--workspace", "--all-targets"])
            .args(["--", "--deny", "warnings"])
            .ok()?;
        Ok(Outcome::default())
    });
    stages.run("2 clippy of what ships", || {
        // The whole workspace at once has the features that only tests ask for.
        let mut clippy = cargo(root).args(["clippy", "--quiet"]);
        for package in install::packages() {
            clippy = clippy.args(["--package", package]);
        }
        clippy.args(["--", "--deny", "warnings"]).ok()?;
        Ok(Outcome::default())
    });
    stages.run("2 documentation", || {
        cargo(root)
            // The comments of a command are its help, written for a terminal.
            .args(["doc", "--quiet", "--workspace", "--no-deps", "--lib"])
            .env("RUSTDOCFLAGS", "--deny warnings")
            .ok()?;
        Ok(Outcome::default())
    });
}

fn with_program(
    places: &Places,
    name: &str,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<Outcome> {
    match setup::find_program(places, name) {
        Some(program) => check(&program).map(|()| Outcome::default()),
        None => Ok(Outcome::left_out(format!(
            "`{name}` is not installed; `cargo xtask setup --all` builds it"
        ))),
    }
}

fn cargo(root: &Path) -> Run {
    Run::new(shell::cargo()).current_dir(root)
}
