//! Two runs at once: neither waits for the other, and neither sees the other's output.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Result, ensure};
use microagent_test::home::Home;
use std::time::Duration;

/// Two guests share the processors.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("together::two_runs_keep_their_output_and_codes_apart", two),
        case("together::two_first_runs_import_one_image", first),
        case("together::a_name_in_use_is_a_conflict", name_in_use),
    ]
}

fn two(world: &World) -> Result<()> {
    let start = |word: &str, code: u8| {
        world
            .guest()?
            .flags(&["-i"])
            .shell(&format!(
                "read line; echo {word} $line; hostname; exit {code}"
            ))
            .stdin(format!("of {word}\n"))
            .limit(world.limit(LIMIT))
            .spawn()
    };
    let (one, other) = (start("one", 11)?, start("other", 12)?);
    let (one, other) = (
        one.finish()?.expect_code(11)?,
        other.finish()?.expect_code(12)?,
    );
    ensure!(
        one.stdout_text().starts_with("one of one\n"),
        "{}",
        one.stdout_text()
    );
    ensure!(
        other.stdout_text().starts_with("other of other\n"),
        "{}",
        other.stdout_text()
    );
    ensure!(one.stdout_text().lines().nth(1) != other.stdout_text().lines().nth(1));
    Ok(())
}

fn first(world: &World) -> Result<()> {
    let home = Home::new()?;
    let image = world.debian_source()?;
    let start = || {
        world
            .guest_in(&home, &image)
            .command(&["echo", "done"])
            .limit(world.limit(LIMIT))
            .spawn()
    };
    let (one, other) = (start()?, start()?);
    for finished in [one.finish()?, other.finish()?] {
        ensure!(finished.expect_code(0)?.stdout == b"done\n");
    }
    let images = check::stored_images(&home).len();
    ensure!(images == 1, "{images} images are in the cache");
    check::nothing_left(world, &home)
}

fn name_in_use(world: &World) -> Result<()> {
    let running = world
        .guest()?
        .flags(&["-i", "--name", "taken"])
        .shell("echo up; read line; echo \"$line\"")
        .stdin_held_open()
        .limit(world.limit(LIMIT))
        .spawn()?;
    running.wait_for_stdout("up\n")?;
    let refused = world
        .guest()?
        .flags(&["--json", "--name", "taken"])
        .command(&["true"])
        .run()?;
    check::failed_with(refused, "conflict")?;
    // The refusal did no harm to the one that has the name.
    let mut running = running;
    running.write(b"still here\n")?;
    let finished = running.finish()?.expect_code(0)?;
    ensure!(
        finished.stdout == b"up\nstill here\n",
        "{}",
        finished.stdout_text()
    );
    Ok(())
}
