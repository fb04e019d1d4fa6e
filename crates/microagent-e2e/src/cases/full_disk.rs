//! A state directory on a disk without room: the run fails with kind `resource`, leaves nothing, and
//! works when there is room again.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::guest::GuestRun;
use crate::framework::small_disk::SmallDisk;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::home::Home;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

const SMALL_MEBIBYTES: u32 = 40;
const ROOMY_MEBIBYTES: u32 = 2048;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("full_disk::an_import_without_room_leaves_nothing", import),
        case("full_disk::a_clone_without_room_leaves_nothing", clone),
    ]
}

fn run(world: &World, home: &Home, state: &Path) -> Result<GuestRun> {
    Ok(world
        .guest_in(home, &world.debian_source()?)
        .flags(&["--state-dir", &state.display().to_string(), "--json"])
        .command(&["echo", "works"]))
}

fn works(world: &World, home: &Home, state: &Path) -> Result<()> {
    let document = run(world, home, state)?.ends_with(0)?.json()?;
    ensure!(document["stdout"] == "works\n", "{document}");
    Ok(())
}

fn import(world: &World) -> Result<()> {
    let home = Home::new()?;
    let at = home.path().join("state");
    let disk = SmallDisk::mount(&at, SMALL_MEBIBYTES)?;
    let finished = run(world, &home, &at)?.run()?;
    check::failed_with(finished, "resource")?;
    check::holds_nothing(&home.state_listing())?;
    check::nothing_left(world, &home)?;
    disk.resize(ROOMY_MEBIBYTES)?;
    works(world, &home, &at)?;
    check::nothing_left(world, &home)
}

fn clone(world: &World) -> Result<()> {
    let home = Home::new()?;
    let at = home.path().join("state");
    let disk = SmallDisk::mount(&at, ROOMY_MEBIBYTES)?;
    works(world, &home, &at)?;
    let before = home.state_listing();
    disk.resize(disk.used_mebibytes()? + 8)?;
    // A disk that stays is a copy of the image here; one that goes with its run would need no room.
    let finished = run(world, &home, &at)?.flags(&["--keep"]).run()?;
    check::failed_with(finished, "resource")?;
    check::same(&before, &home.state_listing())?;
    check::nothing_left(world, &home)?;
    disk.resize(ROOMY_MEBIBYTES)?;
    works(world, &home, &at)?;
    not_even_for_a_record(world, &home, &at, &disk)
}

/// A disk on which not one page is free refuses the first record.
fn not_even_for_a_record(world: &World, home: &Home, at: &Path, disk: &SmallDisk) -> Result<()> {
    let before = home.state_listing();
    let filler = at.join("filler");
    disk.resize(disk.used_mebibytes()? + 1)?;
    fill(&filler)?;
    let finished = run(world, home, at)?.run()?;
    check::failed_with(finished, "resource")?;
    std::fs::remove_file(&filler)?;
    disk.resize(ROOMY_MEBIBYTES)?;
    check::same(&before, &home.state_listing())?;
    works(world, home, at)
}

fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path).context("cannot make a file to fill the disk with")?;
    while file.write_all(&[7; 4096]).is_ok() {}
    Ok(())
}
