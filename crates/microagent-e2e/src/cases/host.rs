//! What the command says about itself and its host.

use crate::framework::case::{Case, case};
use crate::framework::world::World;
use anyhow::{Result, ensure};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("host::version_is_a_line_and_a_document", version),
        case("host::doctor_finds_an_installed_product_sound", doctor),
        case("host::emulation_is_called_emulation", emulation),
    ]
}

fn version(world: &World) -> Result<()> {
    let line = world.microagent().arg("version").run()?.expect_code(0)?;
    let document = world
        .microagent()
        .args(["version", "--json"])
        .run()?
        .expect_code(0)?
        .json()?;
    let version = document["version"].as_str().unwrap_or_default().to_owned();
    ensure!(line.stdout_text() == format!("microagent {version}\n"));
    ensure!(version == env!("CARGO_PKG_VERSION"), "{version}");
    Ok(())
}

fn doctor(world: &World) -> Result<()> {
    let text = world.microagent().arg("doctor").run()?.expect_code(0)?;
    ensure!(
        text.stdout_text().contains("0 problems"),
        "{}",
        text.stdout_text()
    );
    let document = world
        .microagent()
        .args(["doctor", "--json"])
        .run()?
        .expect_code(0)?
        .json()?;
    ensure!(document["ok"] == true, "{document}");
    for check in document["checks"].as_array().into_iter().flatten() {
        ensure!(check["status"] != "fail", "{check}");
    }
    Ok(())
}

fn emulation(world: &World) -> Result<()> {
    let document = world
        .microagent()
        .args(["doctor", "--json"])
        .run()?
        .json()?;
    let expected = if world.is_emulated() {
        "emulation"
    } else {
        "kvm"
    };
    ensure!(document["accelerator"] == expected, "{document}");
    let run = world
        .guest()?
        .flags(&["--json"])
        .command(&["true"])
        .ends_with(0)?
        .json()?;
    ensure!(run["accelerator"] == expected, "{run}");
    ensure!(run["backend"] == document["backend"], "{run}");
    Ok(())
}
