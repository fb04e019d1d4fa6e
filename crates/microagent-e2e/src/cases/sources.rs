//! Every form in which an image comes boots the same Debian.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::home::Home;
use std::time::Duration;

const GREETING: &str = ". /etc/os-release; echo \"$ID $VERSION_CODENAME $(uname -s) $$\"";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("sources::a_zstd_layout_boots", zstd),
        case("sources::a_docker_archive_boots", docker_archive),
        case("sources::a_root_file_system_tarball_boots", rootfs),
        case(
            "sources::the_second_run_takes_the_image_from_the_cache",
            cached,
        ),
        case("sources::images_in_the_cache_are_clean_file_systems", clean),
        case(
            "sources::a_relative_path_is_relative_to_the_caller",
            relative,
        ),
    ]
}

fn boots(world: &World, source: &str) -> Result<()> {
    let finished = world.guest_of(source).shell(GREETING).ends_with(0)?;
    let text = finished.stdout_text();
    ensure!(text.starts_with("debian bookworm Linux "), "{text}");
    Ok(())
}

fn zstd(world: &World) -> Result<()> {
    boots(
        world,
        &format!("oci:{}:latest", world.debian()?.layout_zstd().display()),
    )
}

fn docker_archive(world: &World) -> Result<()> {
    let file = world.debian()?.docker_archive();
    boots(world, &format!("docker-archive:{}", file.display()))
}

fn rootfs(world: &World) -> Result<()> {
    let file = world.debian()?.rootfs_tar();
    boots(world, &format!("rootfs:{}", file.display()))?;
    // Such a source has no command of its own.
    let finished = world
        .guest_of(&format!("rootfs:{}", file.display()))
        .flags(&["--json"])
        .run()?;
    check::failed_with(finished.clone(), "usage")
        .map(drop)
        .or_else(|_| finished.expect_code(2).map(drop))
}

fn cached(world: &World) -> Result<()> {
    let home = Home::new()?;
    let run = || -> Result<serde_json::Value> {
        world
            .guest_in(&home, &world.debian_source()?)
            .flags(&["--json"])
            .command(&["true"])
            .ends_with(0)?
            .json()
    };
    let (first, second) = (run()?, run()?);
    ensure!(first["timings"]["buildMs"].is_u64(), "{first}");
    ensure!(second["timings"]["buildMs"].is_null(), "{second}");
    ensure!(first["image"]["digest"] == second["image"]["digest"]);
    check::nothing_left(world, &home)
}

fn clean(world: &World) -> Result<()> {
    world.guest()?.command(&["true"]).ends_with(0)?;
    let images = check::stored_images(world.home());
    ensure!(!images.is_empty(), "there is no image in the cache");
    images
        .iter()
        .try_for_each(|image| microagent_test::fsck::clean(image))
}

fn relative(world: &World) -> Result<()> {
    let link = world.home().work_dir().join("image");
    std::os::unix::fs::symlink(world.debian()?.layout(), &link).context("cannot link the image")?;
    let finished = world
        .guest_of("oci:./image")
        .limit(world.limit(Duration::from_secs(30)))
        .command(&["echo", "here"])
        .run();
    std::fs::remove_file(&link)?;
    ensure!(finished?.expect_code(0)?.stdout == b"here\n");
    Ok(())
}
