//! `cargo xtask e2e [ARGUMENTS…]`: ring 3, real guests against an installed product.
//!
//! The product is installed into the target folder as a user would have it, and the cases run
//! against that, so that what was tested is what ships. Arguments go to the cases' program. It
//! holds no case itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::counts::{self, Counts};
use crate::install;
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};

const PROGRAM: &str = "microagent-e2e";
/// Tells the cases where the product is.
const PREFIX_VARIABLE: &str = "MICROAGENT_E2E_PREFIX";

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Passed on, for example a part of a case's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    setup::ensure(&places, setup::Scope::Test)?;
    let counts = run_cases(&places, &arguments.arguments)?;
    eprintln!("{counts}");
    Ok(if counts.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs, runs the cases and counts them. What setup provides must be there.
pub(crate) fn run_cases(places: &Places, arguments: &[String]) -> Result<Counts> {
    let prefix = installed(places)?;
    let lines = Run::new(shell::cargo())
        .args(["run", "--quiet", "--release", "--package", PROGRAM])
        .args(["--bin", PROGRAM, "--"])
        .args(arguments)
        .env(PREFIX_VARIABLE, &prefix)
        .current_dir(&places.root)
        .tee()?;
    lines.counts(counts::of_libtest)
}

/// Installs the product into the target folder; gives the prefix.
pub(crate) fn installed(places: &Places) -> Result<PathBuf> {
    let prefix = places.target.join("prefix");
    install::install(places, &prefix)?;
    Ok(prefix)
}
