//! `cargo xtask test`: the whole pipeline, the same on a laptop and in CI.
//!
//! It sets up what it needs and runs the stages in order of cost, every one of them even when an
//! earlier one failed. The last line is `N passed, N failed, N skipped`, alone on its line; the
//! status is 0 only when nothing failed. What a stage leaves out is named with its reason.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bench;
use crate::check;
use crate::counts;
use crate::e2e::{self, Choice};
use crate::guest;
use crate::kernel::{self, Arch, Backend};
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};
use crate::stages::{Outcome, Stages};

/// What the pipeline measures beside a reference; `cargo xtask bench` measures everything.
const BENCHES: [&str; 4] = ["run", "ready", "image-build", "disk-clone"];

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Run every case on Firecracker too, which takes more than an hour in the lab
    #[arg(long)]
    all_on_firecracker: bool,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    let mut stages = Stages::default();
    stages.run("0 setup", || {
        setup::ensure(&places, setup::Scope::Test)?;
        Ok(Outcome::default())
    });
    check::run_stages(&places, &mut stages);
    stages.run("3 unit and command tests", || tests(&places));
    stages.run("3 examples of the library", || examples(&places));
    stages.run("3 ends at every crash point", || crashes(&places));
    stages.run("4 guest init, initramfs and kernel", || {
        guest::build(&places, Arch::of_this_host()?)?;
        for backend in Backend::LINUX {
            kernel::ensure(&places, backend, Arch::of_this_host()?)?;
        }
        Ok(Outcome::default())
    });
    stages.run("5 real guests under QEMU", || {
        with_program(&places, "microagent-e2e", || {
            Ok(e2e::run_cases(&places, e2e::Engine::Qemu, Choice::All, &[])?.into())
        })
    });
    stages.run("6 real guests under Firecracker", || {
        let choice = if arguments.all_on_firecracker {
            Choice::All
        } else {
            Choice::EssentialInLab
        };
        firecracker(&places, choice)
    });
    stages.run("7 benches of the main job", || {
        with_program(&places, "microagent-bench", || {
            let cases = BENCHES.map(str::to_owned);
            if !bench::run_cases(&places, &cases)?.success() {
                bail!("a bench did not end well");
            }
            Ok(Outcome::default())
        })
    });
    println!("{}", stages.summary());
    println!("{}", stages.total());
    Ok(if stages.total().failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tests(places: &Places) -> Result<Outcome> {
    // Tests of the command start our other programs, which no test target depends on.
    cargo(places)
        .args(["build", "--quiet", "--workspace", "--bins"])
        .ok()?;
    let lines = cargo(places)
        .args(["nextest", "run", "--workspace", "--profile", "ci"])
        .args(["--no-tests", "pass"])
        .env("PATH", setup::search_path(places)?)
        .tee()?;
    Ok(lines.counts(counts::of_nextest)?.into())
}

/// What the library's pages show must compile as it stands there.
fn examples(places: &Places) -> Result<Outcome> {
    cargo(places)
        .args([
            "test",
            "--quiet",
            "--doc",
            "--package",
            "microagent-workspace",
        ])
        .ok()?;
    Ok(Outcome::default())
}

/// Acts that end, or find the disk full, at each of their named points, in a build of its own: what ships
/// has no such point.
fn crashes(places: &Places) -> Result<Outcome> {
    const PACKAGE: &str = "microagent-test";
    const FEATURE: &str = "crash-points";
    let lines = cargo(places)
        .args(["nextest", "run", "--package", PACKAGE, "--profile", "ci"])
        .args(["--features", FEATURE])
        .args(["--filterset", "binary(crash) | binary(full)"])
        .env("PATH", setup::search_path(places)?)
        .tee()?;
    Ok(lines.counts(counts::of_nextest)?.into())
}

/// The same cases on Firecracker, where there is one; in a lab, unless all are asked for, those that try what
/// is particular to it.
fn firecracker(places: &Places, choice: Choice) -> Result<Outcome> {
    match e2e::obstacle_to_firecracker(places) {
        Some(reason) => Ok(Outcome::left_out(reason)),
        None => Ok(e2e::run_cases(places, e2e::Engine::Firecracker, choice, &[])?.into()),
    }
}

/// Runs a stage whose program is there; a program that is not built yet is named as left out.
fn with_program(
    places: &Places,
    program: &str,
    stage: impl FnOnce() -> Result<Outcome>,
) -> Result<Outcome> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(places.root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot read cargo's metadata")?;
    let is_there = metadata
        .packages
        .iter()
        .flat_map(|package| &package.targets)
        .any(|target| target.is_bin() && target.name == program);
    if is_there {
        stage()
    } else {
        Ok(Outcome::left_out(format!("`{program}` has no cases yet")))
    }
}

fn cargo(places: &Places) -> Run {
    Run::new(shell::cargo()).current_dir(&places.root)
}
