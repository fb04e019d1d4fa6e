//! `cargo xtask cross`: the host crates, checked for the systems that no machine here runs.
//!
//! ```text
//! folder of Debian sid ── cargo clippy -Z build-std ──> aarch64-apple-darwin, x86_64-pc-windows-gnu
//!   (made once)        └─ cargo build  -Z build-std ──> microagent.exe, the Windows supervisor
//! ```
//!
//! No toolchain here brings a standard library for either target, so it is built from Debian's
//! `rust-src` by Debian's compiler. Which crates are checked follows from the kind column of
//! `ARCHITECTURE.md`: what is for Linux or for the guest alone is left out, and said. It runs nothing
//! that it builds, and must not be needed by any other chore.

pub(crate) mod root;
mod subjects;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::places::Places;
use root::Root;
use subjects::{Subject, System};

/// Windows programs: package and name. What needs the fewest crates is linked first.
const WINDOWS_PROGRAMS: &[(&str, &str)] = &[
    (
        "microagent-hyperv-supervisor",
        "microagent-hyperv-supervisor",
    ),
    ("microagent-cli", "microagent"),
];

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Check this system only: `macos` or `windows`
    #[arg(long)]
    system: Option<System>,
    /// Check these crates only, and leave out linking
    #[arg(long = "package")]
    packages: Vec<String>,
    /// Go on after a crate that fails and list all of them
    #[arg(long)]
    keep_going: bool,
    /// Only build the Windows programs
    #[arg(long)]
    link: bool,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    let root = Root::ensure(&places)?;
    let mut failed = Vec::new();
    for system in System::ALL {
        if arguments.link || arguments.system.is_some_and(|only| only != system) {
            continue;
        }
        failed.extend(check(&places, &root, system, arguments)?);
    }
    if arguments.packages.is_empty() && arguments.system != Some(System::Macos) && failed.is_empty()
    {
        link(&places, &root)?;
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("cross: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Checks every crate that there is for a system; gives the names of those that fail.
fn check(
    places: &Places,
    root: &Root,
    system: System,
    arguments: &Arguments,
) -> Result<Vec<String>> {
    let mut subjects = subjects::of(places, system)?;
    if !arguments.packages.is_empty() {
        subjects.retain(|subject| arguments.packages.contains(&subject.package));
        if subjects.is_empty() {
            bail!("none of these crates is for {system}");
        }
    }
    eprintln!("cross: {} crates for {}", subjects.len(), system.target());
    if !arguments.keep_going {
        root.clippy(places, system, &subjects)?;
        return Ok(Vec::new());
    }
    let fails = |subject: &&Subject| {
        let checked = root.clippy(places, system, std::slice::from_ref(subject));
        let verdict = if checked.is_ok() { "ok" } else { "FAILED" };
        eprintln!("cross: {system}: {}: {verdict}", subject.package);
        checked.is_err()
    };
    let failed = subjects.iter().filter(fails);
    Ok(failed
        .map(|subject| format!("{} for {system}", subject.package))
        .collect())
}

/// Links the Windows programs.
fn link(places: &Places, root: &Root) -> Result<()> {
    for program in WINDOWS_PROGRAMS {
        root.build(places, System::Windows, std::slice::from_ref(program))?;
        eprintln!("cross: linked `{}.exe`", program.1);
    }
    Ok(())
}
