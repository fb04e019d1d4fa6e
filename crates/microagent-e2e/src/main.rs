//! Boots real guests and looks at them as a user would: through the installed `microagent` command.
//!
//! The cases are data and a few lines in the words of the domain; the machinery is in `framework`. They
//! run one after the other, since a VM under emulation takes every processor that it gets. It must not
//! call the product's libraries: what is tested is what is installed. A case that can't run here is
//! skipped with its reason.
#![allow(
    clippy::disallowed_methods,
    reason = "tests look at the world from outside the product's own doors"
)]

mod cases;
mod framework;

use anyhow::{Context as _, Result};
use framework::world::World;
use libtest_mimic::Arguments;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Where the product is installed.
const PREFIX_VARIABLE: &str = "MICROAGENT_E2E_PREFIX";
/// Names of cases, with spaces between; only these are run.
const ONLY_VARIABLE: &str = "MICROAGENT_E2E_ONLY";

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let prefix = std::env::var_os(PREFIX_VARIABLE)
        .map(PathBuf::from)
        .with_context(|| format!("{PREFIX_VARIABLE} is not set; run: cargo xtask e2e"))?;
    let world = Arc::new(World::new(prefix)?);
    let cases = match std::env::var(ONLY_VARIABLE) {
        Ok(names) => cases::named(names.split_whitespace())?,
        Err(_) => cases::all(),
    };
    let conclusion = libtest_mimic::run(&arguments, framework::case::trials(&world, cases));
    world.end()?;
    Ok(conclusion.exit_code())
}
