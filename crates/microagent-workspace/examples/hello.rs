//! Boots an image and runs a command in it: the least that the library asks for.
//!
//! ```text
//! cargo run -p microagent-workspace --example hello -- ~/.local/bin/microagent ~/.microagent debian:12
//! ```
#![allow(
    clippy::print_stdout,
    reason = "a program of its own, which says what it saw"
)]

use microagent_workspace::{Context, RunSettings, run_captured};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, command, state_dir, image] = words.as_slice() else {
        return Err("give the installed `microagent`, a state directory and an image".into());
    };
    let context = Context::of_installation(Path::new(command), Path::new(state_dir).try_into()?);
    let settings = RunSettings::of_command(image.parse()?, ["uname", "-s"]);
    let ran = run_captured(&context, &settings)?;
    print!("{:?}: {}", ran.report.outcome.end, ran.stdout_text());
    Ok(())
}
