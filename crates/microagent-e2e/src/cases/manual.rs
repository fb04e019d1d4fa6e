//! The manual's pages, typed as they stand: the tutorial, the how-tos and the README.
//!
//! Nothing is fetched: the names that the pages use are given to an image that is there, as `image tag` would.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::typed;
use crate::framework::world::World;
use anyhow::{Result, ensure};
use microagent_test::home::Home;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One block of a page, on a real processor.
const BLOCK_LIMIT: Duration = Duration::from_mins(1);
/// What the pages call their images.
const NAMES: [&str; 2] = ["debian:12", "python:3.13-slim"];

pub(crate) fn cases() -> Vec<Case> {
    const NEEDS: &[Need] = &[Need::Root, Need::Tool("python3"), Need::Tool("curl")];
    vec![
        case("manual::the_tutorial_is_typed_as_written", tutorial).needing(NEEDS),
        case("manual::the_how_tos_are_typed_as_written", how_tos).needing(NEEDS),
        case("manual::the_readme_is_typed_as_written", readme).needing(NEEDS),
    ]
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A home in which the names of the pages are known, with the files that a reader would have.
fn reader(world: &World) -> Result<Home> {
    let home = world.fresh_home()?;
    let source = world.debian_source()?;
    let words = |line: &[&str]| world.microagent_in(&home).args(line).run()?.expect_code(0);
    words(&["image", "import", &source, "--tag", NAMES[0]])?;
    words(&["image", "tag", NAMES[0], NAMES[1]])?;
    let work = home.work_dir();
    for name in ["image", "server"] {
        symlink(world.debian()?.layout(), work.join(name))?;
    }
    symlink(world.debian()?.oci_archive(), work.join("image.tar"))?;
    let examples = repository().join("docs/examples/mediation");
    for name in ["control_plane.py", "guest_client.py"] {
        std::fs::copy(examples.join(name), work.join(name))?;
    }
    Ok(home)
}

fn typed(world: &World, home: &Home, page: &Path) -> Result<()> {
    let bin = world.prefix().join("bin");
    typed::types(page, &bin, home, world.limit(BLOCK_LIMIT))?;
    let left = world.microagent_in(home).args(["list", "-q"]).run()?;
    ensure!(
        left.stdout.is_empty(),
        "`{}` leaves workspaces: {}",
        page.display(),
        left.stdout_text()
    );
    check::nothing_left(world, home)
}

fn tutorial(world: &World) -> Result<()> {
    let home = reader(world)?;
    typed(world, &home, &repository().join("docs/tutorial.md"))
}

fn how_tos(world: &World) -> Result<()> {
    let home = reader(world)?;
    let mut pages: Vec<PathBuf> = std::fs::read_dir(repository().join("docs/how-to"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    pages.sort();
    for page in pages {
        typed(world, &home, &page)?;
    }
    Ok(())
}

fn readme(world: &World) -> Result<()> {
    let home = reader(world)?;
    typed(world, &home, &repository().join("README.md"))
}
