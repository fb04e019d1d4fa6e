//! A process in Firecracker's place that tries to get out: it is put there by the real backend, as the
//! real monitor would, and it does not look at tables but opens, connects, signals and mounts.
//!
//! ```text
//! test ── guard ── monitor (first of a pid namespace) ── confined-exec ── attacker ──> run/report
//!   └──── attacker, as it is, in the same folder: every way must be open there ─────> run/report
//! ```
//!
//! One executable plays all of the parts. What a host refuses to confine is not tried, and said.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test looks at the host with its own eyes"
)]

mod attacker;
mod monitor;
mod place;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, ExitCode};

use attacker::Outside;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use microagent_firecracker_supervisor::backend::FirecrackerBackend;
use microagent_linux_host::confine::exec::MODE;
use microagent_supervisor::backend::Backend;
use place::Place;

/// The part between test and monitor, whose one child is the first process of a pid namespace.
const GUARD: &str = "guard";
const MONITOR: &str = "monitor";
/// Exit status of a monitor whose host refuses to confine.
const REFUSED: i32 = 77;

fn main() -> ExitCode {
    let own_name = std::env::args_os().next().unwrap_or_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = std::path::Path::new(&own_name).file_name();
    match words.as_slice() {
        _ if name == Some(OsStr::new("firecracker")) => attacker::main(),
        [MODE] => FirecrackerBackend::from_environment().confined_exec(),
        [GUARD, folder] => guard(folder),
        [MONITOR, folder] => monitor::main(folder.as_ref()),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test(
        "whoever_takes_firecrackers_place_gets_to_nothing_of_the_host",
        || tried().map_err(|error| Failed::from(format!("{error:#?}"))),
    )]
}

fn guard(folder: &str) -> ExitCode {
    FirecrackerBackend::from_environment()
        .isolate_next_child()
        .unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([MONITOR, folder])
        .status()
        .unwrap();
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap())
}

type Findings = BTreeMap<String, String>;

fn tried() -> Result<Completion, Vec<String>> {
    let place = Place::make();
    let outside = place.attacked_from_outside();
    let mut wrong: Vec<String> = attacker::ATTEMPTS
        .iter()
        .filter(|attempt| match attempt.outside {
            Outside::Open => true,
            Outside::OpenToRoot => place::is_root(),
            Outside::NotTried => false,
        })
        .filter(|attempt| {
            outside
                .get(attempt.name)
                .is_none_or(|found| found != attacker::HAD)
        })
        .map(|attempt| {
            format!(
                "outside `{}`: {:?}",
                attempt.name,
                outside.get(attempt.name)
            )
        })
        .collect();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([GUARD, place.folder().to_str().unwrap()])
        .env("MICROAGENT_FIRECRACKER", place.program())
        .status()
        .unwrap();
    if status.code() == Some(REFUSED) {
        return Ok(Completion::ignored_with("this host refuses a private root"));
    }
    let inside: Findings = place.take_report();
    for attempt in attacker::ATTEMPTS {
        match inside.get(attempt.name).map(String::as_str) {
            Some(attacker::HAD) | None => {
                wrong.push(format!(
                    "inside `{}`: {:?}",
                    attempt.name,
                    inside.get(attempt.name)
                ));
            }
            Some(_) => {}
        }
    }
    if !status.success() {
        wrong.push(format!("the monitor ended with {status}"));
    }
    if !place.is_untouched() {
        wrong.push("a file of the host is not as it was".to_owned());
    }
    if wrong.is_empty() {
        Ok(Completion::Completed)
    } else {
        wrong.push(format!("all findings inside: {inside:#?}"));
        Err(wrong)
    }
}
