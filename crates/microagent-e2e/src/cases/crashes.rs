//! `kill -9` of the command, the monitor, the VMM and its helpers: no VM lives one second later, the
//! command says what happened, and the next run works.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::{Running, Signal};
use microagent_test::home::ProcessSeen;
use std::time::Duration;

const KILLED: i32 = 9;
/// From the start of a run: while it prepares, boots, connects.
const MOMENTS_MS: [u64; 5] = [30, 150, 400, 800, 1300];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("crashes::the_vm_ends_with_the_command", command),
        case(
            "crashes::a_command_killed_at_any_moment_leaves_no_vm",
            command_early,
        ),
        case("crashes::the_vm_ends_with_its_monitor", monitor),
        case("crashes::a_vm_that_dies_is_a_failure_and_not_silence", vmm),
        case(
            "crashes::a_helper_that_dies_is_a_failure_and_not_silence",
            helper,
        )
        .needing(&[Need::VsockProgram]),
    ]
}

fn in_session(world: &World) -> Result<Running> {
    let running = world.guest()?.shell("echo up; exec sleep 60").spawn()?;
    running.wait_for_stdout("up\n")?;
    Ok(running)
}

/// The process of the home whose program has this name; its pid-1 shell of a namespace counts as well.
fn process(world: &World, program: &str, word: &str) -> Result<Vec<ProcessSeen>> {
    let all = world.home().processes();
    let found: Vec<ProcessSeen> = all
        .iter()
        .filter(|process| {
            let mut words = process.words.split(' ');
            let name = words.next().unwrap_or_default().rsplit('/').next();
            name.is_some_and(|name| name.starts_with(program))
                && (word.is_empty() || words.any(|given| given == word))
        })
        .cloned()
        .collect();
    ensure!(!found.is_empty(), "no `{program} {word}` among {all:#?}");
    Ok(found)
}

fn next_works(world: &World) -> Result<()> {
    let finished = world.guest()?.command(&["echo", "works"]).ends_with(0)?;
    ensure!(finished.stdout == b"works\n");
    check::nothing_left(world, world.home())
}

fn command(world: &World) -> Result<()> {
    let running = in_session(world)?;
    running.signal(Signal::KILL)?;
    let gone = check::processes_gone(world, world.home());
    let finished = running.finish()?;
    ensure!(finished.signal == Some(KILLED));
    gone?;
    next_works(world)
}

fn command_early(world: &World) -> Result<()> {
    let home = world.fresh_home()?;
    let image = world.debian_source()?;
    world
        .guest_in(&home, &image)
        .command(&["true"])
        .ends_with(0)?;
    for moment in MOMENTS_MS {
        let running = world
            .guest_in(&home, &image)
            .command(&["sleep", "60"])
            .spawn()?;
        std::thread::sleep(Duration::from_millis(moment));
        running.signal(Signal::KILL)?;
        let gone = check::processes_gone(world, &home);
        drop(running.finish()?);
        gone.with_context(|| format!("killed after {moment} ms"))?;
    }
    let finished = world
        .guest_in(&home, &image)
        .command(&["echo", "works"])
        .ends_with(0)?;
    ensure!(finished.stdout == b"works\n");
    check::processes_gone(world, &home)
}

fn monitor(world: &World) -> Result<()> {
    let running = in_session(world)?;
    for process in process(world, world.backend().supervisor(), "monitor")? {
        process.end();
    }
    let finished = running.finish()?.expect_code(check::FAILED)?;
    ensure!(
        finished.stderr_text().starts_with("error: "),
        "{}",
        finished.stderr_text()
    );
    check::processes_gone(world, world.home())?;
    leftovers_do_not_matter(world)
}

fn vmm(world: &World) -> Result<()> {
    let running = in_session(world)?;
    for process in process(world, world.backend().vmm(), "")? {
        process.end();
    }
    let finished = running.finish()?.expect_code(check::FAILED)?;
    ensure!(
        finished.stderr_text().starts_with("error: "),
        "{}",
        finished.stderr_text()
    );
    check::processes_gone(world, world.home())?;
    leftovers_do_not_matter(world)
}

fn helper(world: &World) -> Result<()> {
    let running = in_session(world)?;
    let program = world.backend().vsock_program();
    let program = program.context("the case needs a program for the vsock")?;
    for process in process(world, program, "")? {
        process.end();
    }
    let finished = running.finish()?.expect_code(check::FAILED)?;
    ensure!(
        finished.stderr_text().starts_with("error: "),
        "{}",
        finished.stderr_text()
    );
    check::processes_gone(world, world.home())?;
    leftovers_do_not_matter(world)
}

/// What was recorded about a VM that died is evidence that may stay or go; the next run works.
fn leftovers_do_not_matter(world: &World) -> Result<()> {
    let finished = world.guest()?.command(&["echo", "works"]).ends_with(0)?;
    ensure!(finished.stdout == b"works\n");
    Ok(())
}
