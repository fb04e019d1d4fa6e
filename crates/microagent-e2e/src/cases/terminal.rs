//! `run --tty` on a real pseudo-terminal: sizes, keys and the terminal's own state.
//!
//! A program sits at the terminal's other end; it must not know what a guest is.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::world::{PRODUCT_BACKEND_VARIABLE, World};
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::Program;
use serde_json::{Value, json};
use std::time::Duration;

const PERSON: &str = include_str!("../programs/on_terminal.py");
/// Tells its terminal's size at its start and at each change, and ends at Ctrl-C.
const GUEST: &str = "trap 'stty size' WINCH; trap 'echo interrupted in the guest; exit 7' INT; \
                     stty size; while :; do sleep 1; done";
/// The person's own deadline and what a boot may take before.
const LIMIT: Duration = Duration::from_mins(3);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "terminal::a_guest_has_its_size_and_keys_and_leaves_it_as_it_was",
            whole,
        )
        .needing(&[Need::Tool("python3")]),
    ]
}

fn whole(world: &World) -> Result<()> {
    let person = world.home().work_dir().join("on_terminal.py");
    std::fs::write(&person, PERSON)?;
    let image = world.debian_source()?;
    let finished = Program::at("/usr/bin/python3")
        .of(world.home())
        .env(PRODUCT_BACKEND_VARIABLE, world.backend().name())
        .arg(&person)
        .arg(world.prefix().join("bin/microagent"))
        .args(["run", "-i", "-t", &image, "--", "sh", "-c", GUEST])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    let seen: Value = serde_json::from_slice(&finished.stdout)
        .with_context(|| format!("{:?}", finished.stdout_text()))?;
    let wanted = json!({"code": 7, "raw": true, "restored": true});
    ensure!(seen == wanted, "{seen}");
    check::nothing_left(world, world.home())
}
