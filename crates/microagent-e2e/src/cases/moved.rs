//! An installation under another prefix than the one it was made for: nothing in it names its place.

use crate::framework::case::{Case, Need, case};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Result, ensure};
use microagent_test::image::Tool;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "moved::a_prefix_can_be_moved_while_its_workspaces_rest",
            moved,
        ),
        case(
            "moved::the_command_alone_says_what_it_lacks_in_two_lines",
            alone,
        )
        .needing(&[Need::Root]),
    ]
}

fn moved(world: &World) -> Result<()> {
    let place = microagent_test::home::Home::new()?;
    let (first, second) = (
        place.work_dir().join("first"),
        place.work_dir().join("se cond"),
    );
    Tool::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(world.prefix())
        .arg(&first)
        .ok()?;
    let mut kept = Lasting::create_with(world, &first, &[], &[])?;
    kept.does(&["start", NAME])?;
    kept.shell("echo there > /root/note")?;
    kept.does(&["halt", NAME])?;
    std::fs::rename(&first, &second)?;
    kept.moved_to(&second);
    kept.does(&["start", NAME])?;
    let note = kept.shell("cat /root/note")?;
    ensure!(note == "there\n", "{note}");
    kept.does(&["halt", NAME])?;
    kept.ends_well()
}

/// What `cargo install` of the command's crate leaves: one program.
fn alone(world: &World) -> Result<()> {
    let place = microagent_test::home::Home::new()?;
    let program = place.work_dir().join("microagent");
    std::fs::copy(world.prefix().join("bin/microagent"), &program)?;
    let finished = microagent_test::cli::Program::at(&program)
        .of(&place)
        .args(["run", "debian:12", "true"])
        .run()?
        .expect_code(125)?;
    let said = finished.stderr_text();
    let lines: Vec<&str> = said.lines().collect();
    ensure!(
        lines.len() == 2
            && lines[0].starts_with("error: the supervisor `microagent-")
            && lines[1].contains("cargo xtask install --prefix"),
        "{said}"
    );
    Ok(())
}
