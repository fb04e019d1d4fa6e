//! The same thing many times, and many things at once: what each of them leaves behind adds up.
//!
//! In a lab nobody else lives, so the whole host is counted there; elsewhere what bears the name of the
//! case's home.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::home::Home;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// How often; the fifty take long under emulation.
const ROUNDS_VARIABLE: &str = "MICROAGENT_E2E_ROUNDS";
const ROUNDS: u32 = 3;
/// How many at once.
const CROWD: usize = 8;
/// Eight guests share the processors.
const CROWD_LIMIT: Duration = Duration::from_mins(2);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("often::starts_and_halts_leave_nothing_behind", in_a_row),
        case("often::eight_vms_run_at_once", at_once),
    ]
}

/// What there is that could pile up, each kind with its count.
type Counts = BTreeMap<&'static str, usize>;

fn in_a_row(world: &World) -> Result<()> {
    let rounds = match std::env::var(ROUNDS_VARIABLE) {
        Ok(number) => number.parse().context("the rounds are no number")?,
        Err(_) => ROUNDS,
    };
    let kept = Lasting::create(world, &[], &[])?;
    // The first boot makes what stays: the list of sockets, the history, the logs.
    once(world, &kept)?;
    let before = counts(world, kept.home());
    for _ in 0..rounds {
        once(world, &kept)?;
    }
    let after = counts(world, kept.home());
    ensure!(
        before == after,
        "{rounds} starts and halts changed {before:?} to {after:?}"
    );
    kept.ends_well()
}

fn once(world: &World, kept: &Lasting<'_>) -> Result<()> {
    kept.does(&["start", NAME])?;
    kept.does(&["halt", NAME])?;
    check::processes_gone(world, kept.home())
}

fn counts(world: &World, home: &Home) -> Counts {
    let name = home.path().display().to_string();
    let counted = |line: &&str| world.is_alone() || line.contains(&name);
    let lines = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(counted).count()
    };
    let mut counts = Counts::from([
        ("processes", home.processes().len()),
        ("mounts", lines("/proc/self/mountinfo")),
        ("sockets", lines("/proc/net/unix")),
        ("files", home.state_listing().len()),
        ("control groups", folders(Path::new("/sys/fs/cgroup"))),
    ]);
    if world.is_alone() {
        counts.insert("namespaces", namespaces().len());
    }
    counts
}

/// Control groups, ours where others live too.
fn folders(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            let own = entry.file_name().to_string_lossy().contains("microagent");
            usize::from(own) + folders(&entry.path())
        })
        .sum()
}

/// Every namespace that a process of the host is in.
fn namespaces() -> BTreeSet<String> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    entries(Path::new("/proc"))
        .flat_map(|process| entries(&process.path().join("ns")))
        .filter_map(|namespace| std::fs::read_link(namespace.path()).ok())
        .map(|link| link.display().to_string())
        .collect()
}

fn at_once(world: &World) -> Result<()> {
    let home = world.fresh_home()?;
    let image = world.debian_source()?;
    // The image is imported once, so that eight boots are what happens at once.
    let tiny = world.guest_in(&home, &image).flags(&["--profile", "tiny"]);
    let first = tiny.command(&["true"]);
    first.ends_with(0)?;
    let mut crowd = (0..CROWD)
        .map(|number| {
            world
                .guest_in(&home, &image)
                .flags(&["-i", "--profile", "tiny"])
                .shell(&format!("echo up; read word; echo {number} $word"))
                .stdin_held_open()
                .limit(world.limit(CROWD_LIMIT))
                .spawn()
        })
        .collect::<Result<Vec<_>>>()?;
    // Only when the last one is up does any of them end.
    for running in &crowd {
        running.wait_for_stdout("up\n")?;
    }
    for running in &mut crowd {
        running.write(b"on\n")?;
    }
    for (number, running) in crowd.into_iter().enumerate() {
        let finished = running.finish()?.expect_code(0)?;
        let said = finished.stdout_text();
        ensure!(said == format!("up\n{number} on\n"), "{said}");
    }
    check::nothing_left(world, &home)
}
