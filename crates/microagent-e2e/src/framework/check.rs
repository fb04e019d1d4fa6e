//! Judgements that many cases share. They say what they found, not only that it was wrong.

use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use microagent_test::cli::Finished;
use microagent_test::home::{Entry, Home};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What microagent itself failing means for `run`.
pub(crate) const FAILED: i32 = 125;
/// A process that was told to end may be seen for this long, on a real processor.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// No process, mount, temporary file or workspace is left in a home whose commands have ended.
pub(crate) fn nothing_left(world: &World, home: &Home) -> Result<()> {
    let found = settled(world.limit(SETTLE_LIMIT), || {
        let mut found = home.leftovers();
        found.extend(workspaces(&home.state_dir()));
        found
    });
    ensure!(found.is_empty(), "something is left:\n{}", found.join("\n"));
    Ok(())
}

/// Ends and deletes every workspace of the shared home, as far as that goes: it is looked at no more.
pub(crate) fn take_away(world: &World) {
    let folder = world.home().state_dir().join("workspaces");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        for words in [&["kill"][..], &["delete", "--yes"]] {
            let line = world.microagent().args(words).arg(entry.file_name());
            let _ = line.run();
        }
    }
}

/// No process of the home is left within one second of now (and its factor here).
pub(crate) fn processes_gone(world: &World, home: &Home) -> Result<()> {
    let found = settled(world.limit(SETTLE_LIMIT), || {
        home.processes()
            .into_iter()
            .map(|process| format!("{} {}", process.pid, process.words))
            .collect()
    });
    ensure!(found.is_empty(), "still running:\n{}", found.join("\n"));
    Ok(())
}

fn settled(limit: Duration, look: impl Fn() -> Vec<String>) -> Vec<String> {
    let began = Instant::now();
    loop {
        let found = look();
        if found.is_empty() || began.elapsed() > limit {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// What lies in the folder of workspaces.
fn workspaces(state_dir: &Path) -> Vec<String> {
    std::fs::read_dir(state_dir.join("workspaces"))
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| format!("workspace {} is left", entry.file_name().to_string_lossy()))
                .collect()
        })
        .unwrap_or_default()
}

/// The disks of the images that a home has stored.
pub(crate) fn stored_images(home: &Home) -> Vec<PathBuf> {
    home.state_listing()
        .into_iter()
        .filter(|entry| entry.path.starts_with("images/"))
        .map(|entry| home.state_dir().join(entry.path))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "ext4")
        })
        .collect()
}

/// A state directory in which nothing was ever finished holds folders, locks and its own mark, and
/// not one byte more.
pub(crate) fn holds_nothing(listing: &[Entry]) -> Result<()> {
    let unexpected: Vec<&Entry> = listing
        .iter()
        .filter(|entry| {
            let is_skeleton = entry.kind == 'd' && !entry.path.starts_with("workspaces/");
            let is_lock = entry.path.ends_with("lock") && !entry.path.starts_with("workspaces/");
            let is_kernel = entry.path.starts_with("kernels/");
            !(is_skeleton || is_lock || is_kernel || entry.path == "schema")
        })
        .collect();
    ensure!(
        unexpected.is_empty(),
        "the state directory should hold nothing and has {unexpected:#?}"
    );
    Ok(())
}

/// Two listings of a state directory are the same.
pub(crate) fn same(before: &[Entry], after: &[Entry]) -> Result<()> {
    let gone: Vec<&Entry> = before
        .iter()
        .filter(|entry| !after.contains(entry))
        .collect();
    let new: Vec<&Entry> = after
        .iter()
        .filter(|entry| !before.contains(entry))
        .collect();
    ensure!(
        gone.is_empty() && new.is_empty(),
        "the state directory changed; gone: {gone:#?}, new: {new:#?}"
    );
    Ok(())
}

/// The code of an interrupted run. In its first moments the signal itself may still end the process,
/// which a shell shows as the same number.
pub(crate) fn interrupted(finished: Finished) -> Result<()> {
    const SIGINT: i32 = 2;
    if finished.signal == Some(SIGINT) {
        return Ok(());
    }
    finished.expect_code(128 + SIGINT).map(drop)
}

/// A failed `run --json`: code 125, one document, an error of this kind with a text; the text.
pub(crate) fn failed_with(finished: Finished, kind: &str) -> Result<String> {
    let finished = finished.expect_code(FAILED)?;
    let document = finished.json()?;
    let error = &document["error"];
    let message = error["message"]
        .as_str()
        .context("an error has a message")?;
    let causes: Vec<&str> = error["cause"]
        .as_array()
        .context("an error has a list of causes")?
        .iter()
        .filter_map(|cause| cause.as_str())
        .collect();
    let told = format!("{message}: {}", causes.join(": "));
    if error["kind"] != kind {
        bail!("an error of kind {kind} was expected: {document}");
    }
    ensure!(
        !message.is_empty() && !message.ends_with('.'),
        "a message is one sentence without a full stop: {message}"
    );
    Ok(told)
}
