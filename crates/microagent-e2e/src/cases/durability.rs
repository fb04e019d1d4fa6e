//! A guest that writes numbered records all the time is halted, stopped and killed, again and again; what
//! it was promised is there at the next boot, and after a halt everything is.
//!
//! The guest is the judge: at each boot its kernel mounts the disk as it was left, and the workload looks
//! at what stands there before it goes on. After a halt `e2fsck` looks too.

use crate::framework::case::{Case, case};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::fsck;

/// Boots in all, over two workspaces that run beside each other.
const ROUNDS: usize = 50;
const WORKSPACES: usize = 2;

/// Appends to two files: one is synced after each record, which is told then; the other is only written.
/// Begins with how many records it found in each, from the first one without a gap; what stands behind
/// them was not synced, of which a file system may keep a part after a kill, or only its length.
const WRITER: &str = r#"
count() {
  [ -e "$1" ] || : > "$1"
  n=$(awk '$1 != NR { exit } { n = NR } END { print n + 0 }' "$1")
  head -n "$n" "$1" > "$1.new"
  cmp -s "$1" "$1.new" || { mv "$1.new" "$1"; sync "$1" /root; }
  echo "$n"
}
k=$(count /root/synced); p=$(count /root/plain)
echo "found $k $p."
while :; do
  for i in 1 2 3 4 5; do
    p=$((p + 1)); echo $p >> /root/plain; echo "wrote $p."
  done
  k=$((k + 1)); echo $k >> /root/synced; sync /root/synced && echo "synced $k."
done
"#;

pub(crate) fn cases() -> Vec<Case> {
    vec![case(
        "durability::what_was_synced_is_there_after_50_halts_stops_and_kills",
        rounds,
    )]
}

fn rounds(world: &World) -> Result<()> {
    // Imported once, not twice at the same time.
    world.guest()?.command(&["true"]).ends_with(0)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKSPACES)
            .map(|number| scope.spawn(move || one_workspace(world, number)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a thread has panicked"))
        })
    })
}

/// What a boot said: how much it found, and what it wrote and synced last.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    found: (u64, u64),
    wrote: u64,
    synced: u64,
}

fn one_workspace(world: &World, number: usize) -> Result<()> {
    let kept = Lasting::create(world, &[], &["sh", "-c", WRITER])?;
    let mut before = Said::default();
    let mut ended_by = "halt";
    for round in 0..ROUNDS / WORKSPACES {
        let boot = boot(&kept, before, ended_by)
            .with_context(|| format!("round {round}, after a {ended_by}"))?;
        ended_by = ["halt", "stop", "kill"][(round + number) % 3];
        kept.does(&[ended_by, NAME])?;
        if ended_by == "halt" {
            fsck::clean(&kept.disk())?;
        }
        before = said(&kept.console()).context("a boot that said nothing")?;
        ensure!(before.synced >= boot.synced && before.found == boot.found);
    }
    kept.ends_well()
}

/// Starts it, looks at what the guest found, and comes back when it has written more.
fn boot(kept: &Lasting<'_>, before: Said, ended_by: &str) -> Result<Said> {
    let boots = kept.console().matches("found ").count();
    kept.does(&["start", NAME])?;
    let console = kept.console_says(|console| {
        console.matches("found ").count() > boots
            && said(console).is_some_and(|said| said.synced > said.found.0)
    })?;
    let now = said(&console).context("what was just there")?;
    ensure!(
        now.found.0 >= before.synced,
        "{} records were promised and {now:?} are there",
        before.synced
    );
    ensure!(
        ended_by != "halt" || now.found.1 >= before.wrote,
        "{} records were written and {now:?} are there",
        before.wrote
    );
    Ok(now)
}

/// What the last boot on this console has said. A line is only taken whole.
fn said(console: &str) -> Option<Said> {
    let boot = &console[console.rfind("found ")?..];
    let mut said = Said::default();
    for line in boot.lines() {
        let Some((word, rest)) = line
            .trim()
            .strip_suffix('.')
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        match word {
            "found" => {
                let (synced, plain) = rest.split_once(' ')?;
                said.found = (synced.parse().ok()?, plain.parse().ok()?);
                (said.synced, said.wrote) = said.found;
            }
            "wrote" => said.wrote = rest.parse().unwrap_or(said.wrote),
            "synced" => said.synced = rest.parse().unwrap_or(said.synced),
            _ => {}
        }
    }
    Some(said)
}
