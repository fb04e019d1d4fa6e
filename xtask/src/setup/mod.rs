//! `cargo xtask setup`: everything that building, running and testing needs on a Debian machine.
//!
//! Debian packages through apt, programs from crates.io, the guest kernel. It looks before it acts:
//! with nothing to do it ends in well under a second, so every other chore may call it first.
//! What is made here lives in the cache and outlives the checkout. It must not change the machine
//! in any other way: no configuration, no groups, no sysctl.

mod packages;
mod programs;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::kernel::{self, Arch, Backend};
use crate::places::Places;

pub(crate) use programs::{
    find as find_program, obtain as obtain_program, search_path, version as program_version,
};

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Also install the checkers that `check` uses when they are there; they take minutes to build
    #[arg(long)]
    all: bool,
}

/// How much is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// What a user's first run needs.
    Run,
    /// And what the test suite needs.
    Test,
    /// And the checkers that stages name as skipped when they are missing.
    Everything,
    /// What a single chore needs, which asks for it itself.
    OnDemand,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scope = if arguments.all {
        Scope::Everything
    } else {
        Scope::Test
    };
    ensure(&Places::find()?, scope)?;
    eprintln!("setup: everything is there");
    Ok(ExitCode::SUCCESS)
}

/// Installs and builds what is missing.
pub(crate) fn ensure(places: &Places, scope: Scope) -> Result<()> {
    packages::ensure(scope)?;
    programs::ensure(places, scope)?;
    for backend in Backend::LINUX {
        kernel::ensure(places, backend, Arch::of_this_host()?)?;
    }
    Ok(())
}
