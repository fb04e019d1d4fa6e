//! `cargo xtask generate`: the reference pages that code already knows, under `docs/reference/`.
//!
//! A page written beside the code goes stale. These are made from the sources that rule, with the
//! words that stand there, and from the help that the command prints; `--check` fails on a difference, so an undocumented variable or exit
//! code can't pass. It must not write anything by hand that the sources don't say.

mod capabilities;
mod commands;
mod environment;
mod exit_codes;
mod messages;
mod spec_schema;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::places::Places;
use crate::shell::{self, Run};

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write nothing, and fail when a page differs
    #[arg(long)]
    check: bool,
}

struct Page {
    path: PathBuf,
    text: String,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    if arguments.check {
        check(&places)?;
        return Ok(ExitCode::SUCCESS);
    }
    for page in pages(&places)? {
        let folder = page.path.parent().context("a page needs a folder")?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        std::fs::write(&page.path, page.text)
            .with_context(|| format!("cannot write `{}`", page.path.display()))?;
        eprintln!("generated: {}", page.path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails when a page in the checkout is not what would be generated.
pub(crate) fn check(places: &Places) -> Result<()> {
    let mut stale = Vec::new();
    for page in pages(places)? {
        if std::fs::read_to_string(&page.path).ok().as_ref() != Some(&page.text) {
            stale.push(page.path.display().to_string());
        }
    }
    if !stale.is_empty() {
        bail!(
            "not what `cargo xtask generate` writes: {}",
            stale.join(", ")
        );
    }
    Ok(())
}

fn pages(places: &Places) -> Result<Vec<Page>> {
    let source = |path: &str| {
        let path = places.root.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let page = |name: &str, text: String| Page {
        path: places.root.join("docs/reference").join(name),
        text,
    };
    Ok(vec![
        page(
            "environment.md",
            environment::page(&source("crates/microagent-types/src/env_vars.rs")?)?,
        ),
        page(
            "capabilities.md",
            capabilities::page(
                &source("crates/microagent-machine/src/capability.rs")?,
                &source("crates/microagent-machine/src/capability_table.rs")?,
            )?,
        ),
        page(
            "exit-codes.md",
            exit_codes::page(&source("crates/microagent-wire/src/exit_code.rs")?)?,
        ),
        page("messages.md", messages::page(&snapshots(places)?)?),
        page(
            "spec-schema.json",
            spec_schema::page(&source(
                "crates/microagent-workspace/src/spec_file/keys.rs",
            )?)?,
        ),
        page(
            "cli.md",
            commands::page(&command(places)?, &places.target.join("generate"))?,
        ),
    ])
}

/// The built command, for what it says of itself.
fn command(places: &Places) -> Result<PathBuf> {
    Run::new(shell::cargo())
        .args(["build", "--quiet", "--package", "microagent-cli"])
        .args(["--bin", "microagent"])
        .current_dir(&places.root)
        .ok()?;
    Ok(places.target.join("debug/microagent"))
}

/// The snapshots of messages, by name.
fn snapshots(places: &Places) -> Result<Vec<(String, String)>> {
    let folder = places.root.join("crates/microagent-wire/tests/snapshots");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list `{}`", folder.display()))?;
    let mut snapshots = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list `{}`", folder.display()))?
            .path();
        let is_snapshot = path
            .extension()
            .is_some_and(|extension| extension == "snap");
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| is_snapshot) {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            snapshots.push((name.to_owned(), text));
        }
    }
    snapshots.sort();
    Ok(snapshots)
}

/// The words of the documentation comment that a line belongs to, collected as lines go by.
#[derive(Default)]
struct DocComment {
    words: String,
}

impl DocComment {
    /// Takes a line that is part of a comment; gives whether it was one.
    fn take(&mut self, line: &str) -> bool {
        let Some(text) = line.trim().strip_prefix("///") else {
            return false;
        };
        if !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push_str(text.trim());
        true
    }

    /// The comment of the line after it; the next comment starts anew.
    fn end(&mut self) -> String {
        std::mem::take(&mut self.words)
    }
}
