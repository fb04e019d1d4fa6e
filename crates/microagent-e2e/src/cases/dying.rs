//! Lasting workspaces whose guest, VMM or monitor dies or falls silent: what is said is true, nothing
//! lives on unowned, and the next start works.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::dumb_init::{self, Does};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Result, ensure};
use microagent_test::cli::Signal;
use std::time::Duration;

/// What a guest has for saying something before its start is given up.
const SILENCE: &str = "6s";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "dying::a_guest_that_panics_has_failed_and_starts_again",
            panics,
        ),
        case("dying::a_vmm_that_is_killed_is_a_failure_at_once", vmm),
        case(
            "dying::a_monitor_that_is_killed_takes_its_vm_with_it",
            monitor,
        ),
        case(
            "dying::a_guest_that_stops_answering_is_ended_by_stop_and_by_nothing_less",
            frozen,
        ),
        case(
            "dying::a_guest_that_never_says_hello_is_given_up_at_the_deadline",
            never_says_hello,
        ),
        case(
            "dying::a_kernel_that_panics_at_once_fails_the_start_at_once",
            panics_at_once,
        ),
    ]
}

fn running(world: &World) -> Result<Lasting<'_>> {
    let kept = Lasting::create(world, &[], &[])?;
    kept.does(&["start", NAME])?;
    kept.shell("echo kept > /root/note; sync /root/note")?;
    Ok(kept)
}

fn starts_again(world: &World, kept: Lasting<'_>) -> Result<()> {
    check::processes_gone(world, kept.home())?;
    kept.refuses(&["exec", NAME, "true"], "wrong_state")?;
    kept.does(&["start", NAME])?;
    ensure!(kept.shell("cat /root/note")? == "kept\n");
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

/// The first process of a guest ends by a signal, which no kernel survives.
fn panics(world: &World) -> Result<()> {
    let kept = running(world)?;
    let spoil = "import re\n\
        lines = open('/proc/1/maps').read().splitlines()\n\
        memory = open('/proc/1/mem', 'r+b', buffering=0)\n\
        for line in lines:\n\
        \x20   if ' r-xp ' in line:\n\
        \x20       first, last = (int(word, 16) for word in line.split()[0].split('-'))\n\
        \x20       memory.seek(first)\n\
        \x20       memory.write(b'\\xcc' * (last - first))\n";
    // The session ends with the guest.
    let exec = kept
        .line(&["exec", NAME, "--", "python3", "-c", spoil])
        .run()?;
    ensure!(exec.code != Some(0), "{}", exec.stdout_text());
    kept.line(&["wait", NAME]).run()?.expect_code(1)?;
    let failed = kept.is("failed", "vm_died")?;
    ensure!(
        kept.console().contains("Kernel panic"),
        "{}",
        kept.console()
    );
    ensure!(failed["vm"].is_null(), "{failed:#}");
    starts_again(world, kept)
}

fn vmm(world: &World) -> Result<()> {
    let kept = running(world)?;
    for process in kept.processes(world.backend().vmm())? {
        process.end();
    }
    kept.line(&["wait", NAME]).run()?.expect_code(1)?;
    kept.is("failed", "vm_died")?;
    starts_again(world, kept)
}

fn monitor(world: &World) -> Result<()> {
    let kept = running(world)?;
    for process in kept.processes(world.backend().supervisor())? {
        process.end();
    }
    check::processes_gone(world, kept.home())?;
    let status = kept.status()?;
    ensure!(status["state"] == "failed", "{status:#}");
    starts_again(world, kept)
}

/// The VMM is stopped in its tracks, so neither guest nor VMM answers anything.
fn frozen(world: &World) -> Result<()> {
    let kept = running(world)?;
    for process in kept.processes(world.backend().vmm())? {
        process.signal(Signal::STOP);
    }
    let halted = kept
        .line(&["halt", "--timeout", "1s", NAME])
        .run()?
        .expect_code(124)?;
    ensure!(
        halted.stderr_text().contains("stop"),
        "{}",
        halted.stderr_text()
    );
    let status = kept.status()?;
    ensure!(status["state"] == "running", "{status:#}");
    ensure!(status["vm"]["pid"].is_u64(), "{status:#}");
    kept.does(&["stop", "--timeout", "1s", NAME])?;
    kept.is("stopped", "stop_escalated")?;
    starts_again(world, kept)
}

fn never_says_hello(world: &World) -> Result<()> {
    let prefix = dumb_init::prefix(world, Does::Wait)?;
    let kept = Lasting::create_with(world, prefix.path(), &[], &[])?;
    let finished = kept.line(&["start", "--timeout", SILENCE, NAME]).run()?;
    ensure!(
        finished.code == Some(124),
        "{:?}: {}",
        finished.code,
        finished.stderr_text()
    );
    ensure!(
        finished.took < world.limit(Duration::from_secs(20)),
        "{:?}",
        finished.took
    );
    kept.is("failed", "guest_unresponsive")?;
    check::processes_gone(world, kept.home())?;
    kept.ends_well()
}

fn panics_at_once(world: &World) -> Result<()> {
    let prefix = dumb_init::prefix(world, Does::Die)?;
    let kept = Lasting::create_with(world, prefix.path(), &[], &[])?;
    let finished = kept.line(&["start", "--json", NAME]).run()?;
    let told = finished.json()?;
    // The end of the VM is the failure, and not the silence of its guest.
    ensure!(
        !matches!(finished.code, Some(0 | 124) | None),
        "{:?}: {told:#}",
        finished.code
    );
    kept.is("failed", "boot_failed")?;
    ensure!(
        kept.console().contains("Kernel panic"),
        "{}",
        kept.console()
    );
    check::processes_gone(world, kept.home())?;
    kept.ends_well()
}
