//! `cargo xtask bench [ARGUMENTS…]`: measures the product beside a reference and prints ratios.
//!
//! Everything is built in release and installed as a user would have it; arguments go to the
//! program that measures. It holds no measurement itself.

use std::process::{ExitCode, ExitStatus};

use anyhow::Result;
use clap::Args;

use crate::e2e;
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};

const PROGRAM: &str = "microagent-bench";
/// Tells the cases where the product is.
const PREFIX_VARIABLE: &str = "MICROAGENT_BENCH_PREFIX";

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Passed on: the cases to run, all when left out
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    setup::ensure(&places, setup::Scope::Test)?;
    let status = run_cases(&places, &arguments.arguments)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs and measures. What setup provides must be there.
pub(crate) fn run_cases(places: &Places, arguments: &[String]) -> Result<ExitStatus> {
    let prefix = e2e::installed(places)?;
    Run::new(shell::cargo())
        .args(["run", "--quiet", "--release", "--package", PROGRAM])
        .args(["--bin", PROGRAM, "--"])
        .args(arguments)
        .env(PREFIX_VARIABLE, &prefix)
        .current_dir(&places.root)
        .status()
}
