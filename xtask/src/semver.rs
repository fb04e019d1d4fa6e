//! `cargo xtask semver [--baseline REV]`: what a change means for those who build on the library.
//!
//! The three crates that outsiders may depend on are held against an earlier revision of this checkout, by
//! `cargo-semver-checks`, which compares what rustdoc says of both. The baseline is the newest tag of a
//! release; before the first one there is nothing to keep, and the chore says so unless a revision is
//! named. It changes nothing.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::places::Places;
use crate::setup;
use crate::shell::Run;

/// The crates that outsiders may depend on (`ARCHITECTURE.md` section 3).
const PROMISED: [&str; 3] = [
    "microagent-types",
    "microagent-wire",
    "microagent-workspace",
];
/// What the tags of releases begin with.
const TAGS: &str = "v*";

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The revision to compare with [default: the newest tag of a release]
    #[arg(long, value_name = "REV")]
    baseline: Option<String>,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    let Some(baseline) = baseline(&places, arguments)? else {
        println!("semver: skipped: no release is tagged; name a revision: --baseline REV");
        return Ok(ExitCode::SUCCESS);
    };
    let checker = setup::obtain_program(&places, "cargo-semver-checks")?;
    let mut run = Run::new(checker)
        .args([
            "semver-checks",
            "check-release",
            "--baseline-rev",
            &baseline,
        ])
        .current_dir(&places.root);
    for package in PROMISED {
        run = run.args(["--package", package]);
    }
    run.ok()?;
    println!("semver: nothing that was promised at {baseline} is broken");
    Ok(ExitCode::SUCCESS)
}

fn baseline(places: &Places, arguments: &Arguments) -> Result<Option<String>> {
    if let Some(revision) = &arguments.baseline {
        if revision.starts_with('-') {
            bail!("`{revision}` is no revision");
        }
        return Ok(Some(revision.clone()));
    }
    let tags = Run::new("git")
        .args(["tag", "--list", TAGS, "--sort=-version:refname"])
        .current_dir(&places.root)
        .output()?;
    Ok(tags.lines().next().map(str::to_owned))
}
