//! How a command ends: its own code, a signal, a deadline, or never having begun.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Result, ensure};
use std::time::Duration;

/// What a run may take beyond its own `--timeout`: boot, the grace of the guest, the end of the VM.
const AROUND_A_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("endings::a_timeout_is_124_and_leaves_nothing", timeout),
        case("endings::a_timeout_ends_what_ignores_the_signal", stubborn),
        case("endings::a_command_that_does_not_exist_is_127", not_found),
        case(
            "endings::a_command_that_is_not_executable_is_126",
            not_executable,
        ),
        case("endings::a_signal_is_128_and_its_number", signalled),
        case("endings::codes_from_0_to_255_are_the_guests", codes),
        case("endings::a_child_left_behind_does_not_hold_the_run", orphan),
        case(
            "endings::a_guest_that_switches_itself_off_hangs_up_on_the_command",
            power_off,
        ),
        case("endings::a_kept_workspace_is_halted_and_stays", kept),
    ]
}

fn timeout(world: &World) -> Result<()> {
    // The image is imported by a first run, so that the second changes nothing that stays.
    world.guest()?.command(&["true"]).ends_with(0)?;
    let before = world.home().state_listing();
    let finished = world
        .guest()?
        .flags(&["--timeout", "5s"])
        .command(&["sleep", "60"])
        .ends_with(124)?;
    ensure!(
        finished.took >= Duration::from_secs(5),
        "{:?}",
        finished.took
    );
    let most = Duration::from_secs(5) + world.limit(AROUND_A_TIMEOUT);
    ensure!(finished.took < most, "{:?}", finished.took);
    check::nothing_left(world, world.home())?;
    check::same(&before, &world.home().state_listing())
}

fn stubborn(world: &World) -> Result<()> {
    let document = world
        .guest()?
        .flags(&["--json", "--timeout", "1s"])
        .shell("trap '' TERM; echo before; while :; do sleep 60; done")
        .ends_with(124)?
        .json()?;
    ensure!(document["outcome"] == "timed_out", "{document}");
    ensure!(document["stdout"] == "before\n", "{document}");
    ensure!(document["error"]["kind"] == "timeout", "{document}");
    Ok(())
}

fn not_found(world: &World) -> Result<()> {
    let finished = world.guest()?.command(&["pyhton", "x"]).ends_with(127)?;
    let text = finished.stderr_text();
    ensure!(
        text.starts_with("error: `pyhton` was not found in `"),
        "{text}"
    );
    ensure!(finished.stdout.is_empty());
    let document = world
        .guest()?
        .flags(&["--json"])
        .command(&["/no/such/program"])
        .ends_with(127)?
        .json()?;
    ensure!(document["outcome"] == "not_started", "{document}");
    ensure!(document["error"]["kind"] == "guest", "{document}");
    Ok(())
}

fn not_executable(world: &World) -> Result<()> {
    for command in ["/etc/passwd", "/etc"] {
        let document = world
            .guest()?
            .flags(&["--json"])
            .command(&[command])
            .ends_with(126)?
            .json()?;
        ensure!(document["outcome"] == "not_started", "{document}");
    }
    Ok(())
}

fn signalled(world: &World) -> Result<()> {
    let document = world
        .guest()?
        .flags(&["--json"])
        .shell("kill -KILL $$")
        .ends_with(137)?
        .json()?;
    ensure!(document["outcome"] == "signaled", "{document}");
    ensure!(document["signal"] == "SIGKILL", "{document}");
    ensure!(document["exitCode"].is_null(), "{document}");
    Ok(())
}

/// A guest's own 124 to 127 are told apart by `outcome`.
fn codes(world: &World) -> Result<()> {
    for code in [124, 255] {
        let document = world
            .guest()?
            .flags(&["--json"])
            .shell(&format!("exit {code}"))
            .ends_with(code)?
            .json()?;
        ensure!(document["outcome"] == "exited", "{document}");
        ensure!(document["exitCode"] == code, "{document}");
    }
    Ok(())
}

fn orphan(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .shell("sleep 600 & echo started; exit 4")
        .ends_with(4)?;
    ensure!(finished.stdout == b"started\n");
    ensure!(
        finished.took < world.limit(Duration::from_secs(20)),
        "{:?}",
        finished.took
    );
    Ok(())
}

/// Guest init ends in order: open sessions get SIGHUP and can still tell it.
fn power_off(world: &World) -> Result<()> {
    let document = world
        .guest()?
        .flags(&["--json"])
        .shell("echo bye; kill -TERM 1; sleep 60")
        .ends_with(129)?
        .json()?;
    ensure!(document["outcome"] == "signaled", "{document}");
    ensure!(document["signal"] == "SIGHUP", "{document}");
    ensure!(document["stdout"] == "bye\n", "{document}");
    Ok(())
}

fn kept(world: &World) -> Result<()> {
    let home = microagent_test::home::Home::new()?;
    let finished = world
        .guest_in(&home, &world.debian_source()?)
        .flags(&["--keep", "--json", "--name", "kept-one"])
        .shell("echo kept > /root/kept; sync")
        .ends_with(0)?;
    let document = finished.json()?;
    ensure!(document["kept"] == true, "{document}");
    ensure!(document["workspace"] == "kept-one", "{document}");
    check::processes_gone(world, &home)?;
    let record = home.state_dir().join("workspaces/kept-one/runtime.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record)?)?;
    ensure!(record["state"] == "halted", "{record}");
    microagent_test::fsck::clean(&home.state_dir().join("workspaces/kept-one/rootfs.ext4"))?;
    let again = world
        .guest_in(&home, &world.debian_source()?)
        .flags(&["--json", "--name", "kept-one"])
        .command(&["true"])
        .run()?;
    check::failed_with(again, "conflict")?;
    Ok(())
}
