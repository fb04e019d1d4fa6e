//! Every chore of the repository, one file each: `cargo xtask <chore>`.
//!
//! A contributor needs Rust and nothing else to set up, build, test and install: what Make and
//! shell scripts would do is done here, with errors that say what to do. This program is never
//! shipped, so it may print and may touch files and processes directly; it must not be a
//! dependency of any crate, and holds no rule that the product needs at run time.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores run on a contributor's machine; the product's doors are for the product"
)]

mod bench;
mod check;
mod counts;
mod cpio;
mod cross;
mod demo;
mod dist;
mod e2e;
mod fuzz;
mod generate;
mod guest;
mod install;
mod journey;
mod kernel;
mod lab;
mod places;
mod semver;
mod setup;
mod shell;
mod site;
mod stages;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what building, running and testing needs
    Setup(setup::Arguments),
    /// Run a command in a microVM booted from a real Debian image
    Demo(demo::Arguments),
    /// Run the whole pipeline: checks, tests, real guests, benches
    Test(test::Arguments),
    /// Run what comes before any test: format, tidy, supply chain, typos, clippy
    Check,
    /// Boot real guests and run the cases against them
    E2e(e2e::Arguments),
    /// Measure the product beside a reference
    Bench(bench::Arguments),
    /// Look for inputs that break what reads strangers' bytes
    Fuzz(fuzz::Arguments),
    /// Build release programs and put them under a prefix
    Install(install::Arguments),
    /// Remove what `install` put under a prefix, and nothing else
    Uninstall(install::Arguments),
    /// Make what a release consists of: archive, Debian package, list of contents, checksums
    Dist(dist::Arguments),
    /// Install the Debian package in a fresh Debian, type the manual there, and purge it
    Journey,
    /// Hold the crates that others build on against an earlier revision
    Semver(semver::Arguments),
    /// Build the documentation as a static site
    Site,
    /// Check the rules of ARCHITECTURE.md and STYLE.md that a machine can hold
    Tidy,
    /// Write the reference pages that code already knows
    Generate(generate::Arguments),
    /// Build the guest kernel of a backend, or take it from the cache
    Kernel(kernel::Arguments),
    /// Build the guest init and pack the initramfs
    Guest(guest::Arguments),
    /// Check the host crates for macOS and Windows, and link the Windows programs
    Cross(cross::Arguments),
    /// Run a command on a Linux host whose KVM works, under emulation
    Lab(lab::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Setup(arguments) => setup::run(&arguments),
        Chore::Demo(arguments) => demo::run(&arguments),
        Chore::Install(arguments) => install::run(&arguments),
        Chore::Uninstall(arguments) => install::run_uninstall(&arguments),
        Chore::Dist(arguments) => dist::run(&arguments),
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Check => check::run(),
        Chore::E2e(arguments) => e2e::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Generate(arguments) => generate::run(&arguments),
        Chore::Semver(arguments) => semver::run(&arguments),
        Chore::Site => site::run(),
        Chore::Journey => journey::run(),
        Chore::Tidy => tidy::run(),
        Chore::Kernel(arguments) => kernel::run(&arguments),
        Chore::Guest(arguments) => guest::run(&arguments),
        Chore::Cross(arguments) => cross::run(&arguments),
        Chore::Lab(arguments) => lab::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
