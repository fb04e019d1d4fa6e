//! `cargo xtask e2e [--backend NAME] [ARGUMENTS…]`: ring 3, real guests against an installed product.
//!
//! The product is installed into the target folder as a user would have it, and the cases run
//! against that, so that what was tested is what ships. Arguments go to the cases' program. Where
//! Firecracker can't run, its cases run in the lab, and the first line says so. It holds no case
//! itself.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::counts::{self, Counts};
use crate::install;
use crate::lab;
use crate::places::Places;
use crate::setup;
use crate::shell::{self, Run};

const PROGRAM: &str = "microagent-e2e";
const FIRECRACKER: &str = "firecracker";
/// The product's own word for where it is.
const FIRECRACKER_VARIABLE: &str = "MICROAGENT_FIRECRACKER";
/// Tells the cases where the product is.
const PREFIX_VARIABLE: &str = "MICROAGENT_E2E_PREFIX";
/// Tells them which backend is under test.
const BACKEND_VARIABLE: &str = "MICROAGENT_E2E_BACKEND";
/// Tells them how much slower the host is than its accelerator says.
const FACTOR_VARIABLE: &str = "MICROAGENT_E2E_FACTOR";
/// Tells them which cases alone are wanted.
const ONLY_VARIABLE: &str = "MICROAGENT_E2E_ONLY";
/// Tells them where the library's examples are.
const EXAMPLES_VARIABLE: &str = "MICROAGENT_E2E_EXAMPLES";
/// How much slower the lab is taken to be than a host with KVM.
const LAB_FACTOR: &str = "8";

/// For every case in the lab.
const ALL_IN_LAB_LIMIT: Duration = Duration::from_hours(4);
/// For the essential ones, which take four minutes there on a machine of their own: what hangs must not take
/// the pipeline with it.
const ESSENTIAL_IN_LAB_LIMIT: Duration = Duration::from_mins(25);

/// What is particular to Firecracker, in as few boots as will do: the jail, its console and vsock, each way
/// for it to end, its network, a pause, a quarantine, and what many starts leave behind. The other cases
/// try what both backends share.
const ESSENTIAL: [&str; 12] = [
    "host::doctor_finds_an_installed_product_sound",
    "streams::every_byte_value_passes_both_ways",
    "endings::a_guest_that_switches_itself_off_hangs_up_on_the_command",
    "sessions::a_line_and_the_console_can_be_had",
    "settings::the_host_is_not_in_the_guest",
    "often::starts_and_halts_leave_nothing_behind",
    "bad_host::a_kernel_that_is_none_fails_the_boot",
    "crashes::the_vm_ends_with_its_monitor",
    "lifecycle::a_paused_guest_goes_on_where_it_was_and_knows_the_time",
    "dying::a_guest_that_panics_has_failed_and_starts_again",
    "network::a_nat_guest_fetches_and_resolves_through_a_local_stub",
    "quarantine::a_frozen_guest_does_nothing_more_and_lets_nobody_in",
];

/// Which cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All, or those that the arguments choose.
    All,
    /// In a lab, where each boot takes many seconds, what is particular to the backend; else all.
    EssentialInLab,
}

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The backend under test
    #[arg(long, default_value = "qemu")]
    backend: Engine,
    /// Passed on, for example a part of a case's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// A backend whose guests a Linux host can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// QEMU, emulating where it must.
    Qemu,
    /// Firecracker, directly or in the lab.
    Firecracker,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
        }
    }
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    setup::ensure(&places, setup::Scope::Test)?;
    let counts = run_cases(
        &places,
        arguments.backend,
        Choice::All,
        &arguments.arguments,
    )?;
    eprintln!("{counts}");
    Ok(if counts.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs, runs the cases and counts them. What setup provides must be there.
pub(crate) fn run_cases(
    places: &Places,
    backend: Engine,
    choice: Choice,
    arguments: &[String],
) -> Result<Counts> {
    let search_path = match backend {
        Engine::Qemu => std::env::var_os("PATH").unwrap_or_default(),
        Engine::Firecracker => search_path_with(&firecracker(places)?)?,
    };
    let prefix = installed(places)?;
    let cases = cases(places)?;
    let examples = examples(places)?;
    let words: Vec<OsString> = std::iter::once(cases.into_os_string())
        .chain(arguments.iter().map(OsString::from))
        .collect();
    let environment = [
        (PREFIX_VARIABLE, prefix.as_os_str()),
        (BACKEND_VARIABLE, OsStr::new(backend.name())),
        (EXAMPLES_VARIABLE, examples.as_os_str()),
        ("PATH", search_path.as_os_str()),
    ];
    let run = if backend == Engine::Firecracker && !runs_here(&prefix, &search_path) {
        if let Some(obstacle) = lab::obstacle() {
            bail!("KVM is not usable here, and there is no lab: {obstacle}");
        }
        eprintln!("the cases run in the lab: KVM is not usable here");
        let only = ESSENTIAL.join(" ");
        let mut of_lab = vec![(FACTOR_VARIABLE, OsStr::new(LAB_FACTOR))];
        if choice == Choice::EssentialInLab {
            of_lab.push((ONLY_VARIABLE, OsStr::new(&only)));
        }
        let deadline = match choice {
            Choice::All => ALL_IN_LAB_LIMIT,
            Choice::EssentialInLab => ESSENTIAL_IN_LAB_LIMIT,
        };
        lab::command(&[&environment[..], &of_lab].concat(), &words, deadline)
    } else {
        eprintln!("the cases run on this host");
        let run = Run::new(&words[0]).args(&words[1..]);
        environment
            .into_iter()
            .fold(run, |run, (name, value)| run.env(name, value))
    };
    run.current_dir(&places.root)
        .tee()?
        .counts(counts::of_libtest)
}

/// Installs the product into the target folder; gives the prefix.
pub(crate) fn installed(places: &Places) -> Result<PathBuf> {
    let prefix = places.target.join("prefix");
    install::install(places, &prefix)?;
    Ok(prefix)
}

/// The cases' program, built.
pub(crate) fn cases(places: &Places) -> Result<PathBuf> {
    Run::new(shell::cargo())
        .args(["build", "--quiet", "--release", "--package", PROGRAM])
        .args(["--bin", PROGRAM])
        .current_dir(&places.root)
        .ok()?;
    Ok(places.target.join("release").join(PROGRAM))
}

/// The folder of the library's examples, built as the tests of the workspace build them, so that the pipeline
/// compiles nothing twice.
fn examples(places: &Places) -> Result<PathBuf> {
    Run::new(shell::cargo())
        .args(["build", "--quiet", "--workspace", "--example", "hello"])
        .current_dir(&places.root)
        .ok()?;
    Ok(places.target.join("debug/examples"))
}

/// Why Firecracker's cases can't run on this machine; none when they can.
pub(crate) fn obstacle_to_firecracker(places: &Places) -> Option<String> {
    match firecracker(places) {
        Err(error) => Some(format!("{error:#}")),
        Ok(_) => lab::obstacle(),
    }
}

/// A Firecracker of this machine: the one that a variable names, on `PATH`, or in the cache, where a
/// developer has put it.
pub(crate) fn firecracker(places: &Places) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(FIRECRACKER_VARIABLE) {
        let named = PathBuf::from(named);
        if !named.is_file() || named.file_name() != Some(OsStr::new(FIRECRACKER)) {
            let path = named.display();
            bail!(
                "{FIRECRACKER_VARIABLE} is `{path}`, which is no file of the name `{FIRECRACKER}`"
            );
        }
        return Ok(named);
    }
    let cached = places
        .cache
        .join("tools")
        .join(FIRECRACKER)
        .join(FIRECRACKER);
    shell::on_path(FIRECRACKER)
        .or_else(|| cached.is_file().then_some(cached.clone()))
        .with_context(|| {
            format!(
                "there is no `{FIRECRACKER}` on PATH and none at `{}`",
                cached.display()
            )
        })
}

/// `PATH` with the folder of a program before the others.
pub(crate) fn search_path_with(program: &Path) -> Result<OsString> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folder = program.parent().context("a program has a folder")?;
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&own));
    std::env::join_paths(folders).context("the folder of Firecracker can't be part of PATH")
}

/// Whether the product itself says that Firecracker runs here.
pub(crate) fn runs_here(prefix: &Path, search_path: &OsStr) -> bool {
    let report = Run::new(prefix.join("bin/microagent"))
        .args(["doctor", "--json"])
        .env("MICROAGENT_BACKEND", Engine::Firecracker.name())
        .env("PATH", search_path)
        .output();
    let report = report.ok().and_then(|report| {
        let report: serde_json::Value = serde_json::from_str(&report).ok()?;
        Some(report["accelerator"] == "kvm")
    });
    report == Some(true)
}
