//! Ctrl-C and other signals at every stage of a run: it ends with 128 and the number, leaves nothing,
//! and the next run works.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::Signal;
use microagent_test::home::Home;
use std::time::Duration;

/// From the start of a run whose image is not there yet: an import takes seconds.
const IMPORT_MOMENTS_MS: [u64; 6] = [5, 40, 150, 400, 800, 1500];
/// From the start of a run whose image is cached: choosing, cloning, booting, connecting.
const RUN_MOMENTS_MS: [u64; 12] = [5, 20, 60, 120, 200, 350, 500, 700, 900, 1200, 1500, 2000];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "interrupts::an_import_that_is_interrupted_leaves_nothing",
            import,
        ),
        case(
            "interrupts::a_run_can_be_interrupted_at_any_moment",
            any_moment,
        ),
        case("interrupts::the_signal_goes_to_the_command", forwarded),
        case("interrupts::a_second_one_ends_the_session", twice),
        case("interrupts::sigterm_is_143", terminated),
    ]
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn import(world: &World) -> Result<()> {
    let home = Home::new()?;
    let image = world.debian_source()?;
    for moment in IMPORT_MOMENTS_MS {
        let running = world
            .guest_in(&home, &image)
            .command(&["sleep", "60"])
            .spawn()?;
        pause(moment);
        running.signal_group(Signal::INT)?;
        let after = || format!("interrupted after {moment} ms");
        check::interrupted(running.finish()?).with_context(after)?;
        check::nothing_left(world, &home).with_context(after)?;
        // A quick machine may be done with the import by then, and that may stay.
        if check::stored_images(&home).is_empty() {
            check::holds_nothing(&home.state_listing()).with_context(after)?;
        }
    }
    let finished = world
        .guest_in(&home, &image)
        .command(&["echo", "works"])
        .ends_with(0)?;
    ensure!(finished.stdout == b"works\n");
    check::nothing_left(world, &home)
}

fn any_moment(world: &World) -> Result<()> {
    world.guest()?.command(&["true"]).ends_with(0)?;
    let before = world.home().state_listing();
    for (index, moment) in RUN_MOMENTS_MS.into_iter().enumerate() {
        let running = world.guest()?.command(&["sleep", "60"]).spawn()?;
        pause(moment);
        // A terminal signals the whole group, `kill` only the one.
        if index % 2 == 0 {
            running.signal_group(Signal::INT)?;
        } else {
            running.signal(Signal::INT)?;
        }
        let after = || format!("interrupted after {moment} ms");
        check::interrupted(running.finish()?).with_context(after)?;
        check::nothing_left(world, world.home()).with_context(after)?;
        check::same(&before, &world.home().state_listing()).with_context(after)?;
    }
    let finished = world.guest()?.command(&["echo", "works"]).ends_with(0)?;
    ensure!(finished.stdout == b"works\n");
    Ok(())
}

fn forwarded(world: &World) -> Result<()> {
    let running = world
        .guest()?
        .shell("trap 'echo caught; exit 7' INT; echo up; while :; do sleep 1; done")
        .spawn()?;
    running.wait_for_stdout("up\n")?;
    running.signal_group(Signal::INT)?;
    let finished = running.finish()?.expect_code(7)?;
    ensure!(
        finished.stdout == b"up\ncaught\n",
        "{}",
        finished.stdout_text()
    );
    Ok(())
}

fn twice(world: &World) -> Result<()> {
    let running = world
        .guest()?
        .shell("trap '' INT HUP; echo up; while :; do sleep 1; done")
        .spawn()?;
    running.wait_for_stdout("up\n")?;
    running.signal_group(Signal::INT)?;
    pause(300);
    running.signal_group(Signal::INT)?;
    check::interrupted(running.finish()?)?;
    check::nothing_left(world, world.home())
}

fn terminated(world: &World) -> Result<()> {
    let running = world.guest()?.shell("echo up; exec sleep 60").spawn()?;
    running.wait_for_stdout("up\n")?;
    running.signal(Signal::TERM)?;
    running.finish()?.expect_code(143)?;
    Ok(())
}
