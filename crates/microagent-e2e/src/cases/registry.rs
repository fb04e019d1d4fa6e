//! Images that come from a registry: a real one on loopback, a real guest.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use microagent_test::home::Home;
use microagent_test::registry::{Access, Registry};

pub(crate) fn cases() -> Vec<Case> {
    vec![case(
        "registry::a_run_pulls_what_it_misses_and_a_create_finds_it_here",
        pulled,
    )]
}

fn pulled(world: &World) -> Result<()> {
    if let Some(program) = Registry::missing_program() {
        bail!("`{program}` is not installed: cargo xtask setup");
    }
    let home = Home::new()?;
    let folder = home.work_dir().join("registry");
    std::fs::create_dir(&folder)?;
    let registry = Registry::start(&folder, Access::Anybody, None)?;
    registry.fill(
        &format!("{}:latest", world.debian_source()?),
        "team/debian:12",
    )?;
    let reference = registry.reference("team/debian:12");

    let first = world
        .guest_in(&home, &reference)
        .flags(&["--json"])
        .shell(". /etc/os-release; echo $ID")
        .ends_with(0)?
        .json()?;
    ensure!(first["stdout"] == "debian\n", "{first}");
    ensure!(first["timings"]["downloadMs"].is_u64(), "{first}");
    let digest = first["image"]["digest"]
        .as_str()
        .context("a digest")?
        .to_owned();

    // From here on there is no registry.
    drop(registry);
    let created = world
        .microagent_in(&home)
        .args(["create", "kept", "--image", &reference, "--idle", "--json"])
        .run()?
        .expect_code(0)?
        .json()?;
    ensure!(created["imageBuilt"] == false, "{created}");
    ensure!(
        created["workspace"]["image"]["digest"] == digest.as_str(),
        "{created}"
    );
    let images = world
        .microagent_in(&home)
        .args(["image", "list", "--json"])
        .run()?
        .expect_code(0)?
        .json()?;
    ensure!(images["images"][0]["workspaces"][0] == "kept", "{images}");
    world
        .microagent_in(&home)
        .args(["image", "delete", &reference])
        .run()?
        .expect_code(0)?;
    // Its disk is its own: it boots without the image.
    let started = ["start", "kept"];
    world
        .microagent_in(&home)
        .args(started)
        .run()?
        .expect_code(0)?;
    let said = world
        .microagent_in(&home)
        .args(["exec", "kept", "--", "cat", "/etc/debian_version"])
        .run()?
        .expect_code(0)?;
    ensure!(
        said.stdout_text().starts_with("12"),
        "{}",
        said.stdout_text()
    );
    for words in [&["kill", "kept"][..], &["delete", "--yes", "kept"]] {
        world
            .microagent_in(&home)
            .args(words)
            .run()?
            .expect_code(0)?;
    }
    check::nothing_left(world, &home)
}
