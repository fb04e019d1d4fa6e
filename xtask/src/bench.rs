//! `cargo xtask bench [ARGUMENTS…]`: measures the product beside a reference and prints ratios.
//!
//! Everything is built in release and installed as a user would have it; arguments go to the
//! program that measures. It holds no measurement itself.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::e2e;
use crate::lab;
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};

const PROGRAM: &str = "microagent-bench";
/// Tells the cases where the product is.
const PREFIX_VARIABLE: &str = "MICROAGENT_BENCH_PREFIX";

/// For the boots of Firecracker in a lab, two minutes on a machine of their own.
const IN_LAB_LIMIT: Duration = Duration::from_mins(30);

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
    if is_of_firecracker(arguments)
        && let Ok(firecracker) = e2e::firecracker(places)
    {
        let search_path = e2e::search_path_with(&firecracker)?;
        if !e2e::runs_here(&prefix, &search_path) && lab::obstacle().is_none() {
            return in_lab(places, arguments, &prefix, &search_path);
        }
    }
    Run::new(shell::cargo())
        .args(["run", "--quiet", "--release", "--package", PROGRAM])
        .args(["--bin", PROGRAM, "--"])
        .args(arguments)
        .env(PREFIX_VARIABLE, &prefix)
        .current_dir(&places.root)
        .status()
}

/// Whether Firecracker's boots are asked for, and nothing else.
fn is_of_firecracker(arguments: &[String]) -> bool {
    let mut cases = arguments
        .iter()
        .filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()))
        .peekable();
    cases.peek().is_some() && cases.all(|word| word.starts_with("boot"))
}

/// Where KVM is not usable there is no other place for them; both contenders are emulated alike, so their
/// ratio says something, and their times do not.
fn in_lab(
    places: &Places,
    arguments: &[String],
    prefix: &Path,
    search_path: &OsStr,
) -> Result<ExitStatus> {
    Run::new(shell::cargo())
        .args(["build", "--quiet", "--release", "--package", PROGRAM])
        .args(["--bin", PROGRAM])
        .current_dir(&places.root)
        .ok()?;
    eprintln!("measured in the lab, which is emulated: KVM is not usable here");
    let program = places.target.join("release").join(PROGRAM);
    let words: Vec<OsString> = std::iter::once(program.into_os_string())
        .chain(arguments.iter().map(OsString::from))
        .collect();
    let environment = [(PREFIX_VARIABLE, prefix.as_os_str()), ("PATH", search_path)];
    lab::command(&environment, &words, IN_LAB_LIMIT)
        .current_dir(&places.root)
        .status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_boots_of_firecracker_go_into_a_lab() {
        let asked = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            is_of_firecracker(&words)
        };
        assert!(asked(&["boot"]));
        assert!(asked(&["--rounds", "3", "boot-start", "boot-memory"]));
        assert!(!asked(&["boot", "run"]));
        assert!(!asked(&["--check"]));
    }
}
