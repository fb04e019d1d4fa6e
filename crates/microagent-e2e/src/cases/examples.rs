//! The programs that the documentation shows, as they stand there: somebody who copies one gets what it says.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::workspace::Lasting;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::{Finished, Program};
use std::path::PathBuf;
use std::time::Duration;

/// A boot and a shutdown, on a real processor.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);
/// The folder in which the library's examples were built.
const EXAMPLES_VARIABLE: &str = "MICROAGENT_E2E_EXAMPLES";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "examples::a_program_in_python_needs_the_supervisor_and_nothing_else",
            python,
        )
        .needing(&[Need::Root, Need::Tool("python3")]),
        case(
            "examples::a_shell_script_needs_the_supervisor_and_jq",
            shell,
        )
        .needing(&[Need::Root, Need::Tool("jq")]),
        case("examples::ten_lines_of_rust_boot_an_image", rust),
    ]
}

/// Runs a client of a supervisor on a disk image that is there.
fn client(world: &World, program: &str, script: &str) -> Result<Finished> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/examples")
        .join(script);
    let kept = Lasting::create(world, &[], &[])?;
    let status = kept.status()?;
    let kernel = status["kernel"]["path"].as_str().context("no kernel")?;
    let images = check::stored_images(kept.home());
    let libexec = world.prefix().join("libexec");
    let initramfs = std::fs::read_dir(&libexec)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cpio")
        });
    let finished = Program::at("/usr/bin/env")
        .of(kept.home())
        .arg(program)
        .arg(script)
        .arg(libexec.join(world.backend().supervisor()))
        .arg(kept.home().work_dir().join("client-state"))
        .arg(kernel)
        .arg(initramfs.context("no initramfs")?)
        .arg(images.first().context("no image is stored")?)
        .limit(world.limit(PROGRAM_LIMIT))
        .run()?
        .expect_code(0)?;
    kept.ends_well()?;
    Ok(finished)
}

fn python(world: &World) -> Result<()> {
    let said = client(world, "python3", "supervisor_client.py")?.stdout_text();
    let lines: Vec<&str> = said
        .lines()
        .map(|line| line.split(" in ").next().unwrap_or(line))
        .collect();
    ensure!(
        lines[..2] == ["created prepared", "started running"]
            && lines[2].starts_with("inspected running ready ")
            && lines[3..] == ["refused wrong_state", "halted halted", "deleted True"],
        "{said}"
    );
    Ok(())
}

fn shell(world: &World) -> Result<()> {
    let said = client(world, "sh", "supervisor_client.sh")?.stdout_text();
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "created prepared",
        "started running",
        "inspected running ready",
        "refused wrong_state",
        "halted halted",
        "deleted true",
    ];
    ensure!(lines == expected, "{said}");
    Ok(())
}

fn rust(world: &World) -> Result<()> {
    let examples = std::env::var_os(EXAMPLES_VARIABLE)
        .with_context(|| format!("{EXAMPLES_VARIABLE} is not set; run: cargo xtask e2e"))?;
    let home = world.fresh_home()?;
    let finished = Program::at(PathBuf::from(examples).join("hello"))
        .of(&home)
        .arg(world.prefix().join("bin/microagent"))
        .arg(home.state_dir())
        .arg(world.debian_source()?)
        .limit(world.limit(PROGRAM_LIMIT))
        .run()?
        .expect_code(0)?;
    let said = finished.stdout_text();
    ensure!(said == "Exited { code: 0 }: Linux\n", "{said}");
    check::nothing_left(world, &home)
}
