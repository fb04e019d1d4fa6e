//! Sessions that do not end as they were meant to: a client that dies, a reader that stops, a guest that is
//! gone from one moment to the next. Nothing hangs, nothing is left, and whoever asked is told.

use crate::cases::sessions::running;
use crate::framework::case::{Case, case};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::{Program, Signal};
use std::time::{Duration, Instant};

/// How long something that happens at once may take to be seen, on a real processor.
const SEEN_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// What a reader that stops may cost on the host, in each process: all buffers of a session together are
/// smaller by far.
const GROWTH_KIB_MAX: u64 = 4 << 10;
/// Resets the machine without a word to anybody: the kernel's `reboot`, which has another number elsewhere.
const RESET: &str = if cfg!(target_arch = "x86_64") {
    "syscall(169, 0xfee1dead, 672274793, 0x01234567)"
} else {
    "syscall(142, 0xfee1dead, 672274793, 0x01234567)"
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "cut_short::a_client_that_dies_takes_its_command_along",
            killed,
        ),
        case(
            "cut_short::a_reader_that_stops_costs_nobody_time_or_memory",
            unread,
        ),
        case(
            "cut_short::a_guest_that_ends_in_order_ends_its_sessions",
            ended,
        ),
        case(
            "cut_short::a_guest_that_resets_is_an_error_of_every_session",
            reset,
        ),
    ]
}

/// Looks until so many processes of this name run in the guest.
fn until_there_are(count: usize, program: &str, kept: &Lasting<'_>, world: &World) -> Result<()> {
    let deadline = Instant::now() + world.limit(SEEN_LIMIT);
    loop {
        // The image has no `pgrep`. A process may end while it is looked at.
        let names = kept.shell("cat /proc/[0-9]*/comm 2>/dev/null || true")?;
        let found = names.lines().filter(|name| *name == program).count();
        if found == count {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{found} processes `{program}`, not {count}"
        );
        std::thread::sleep(PAUSE);
    }
}

fn killed(world: &World) -> Result<()> {
    let kept = running(world)?;
    let words = [
        "exec",
        NAME,
        "--",
        "sh",
        "-c",
        "trap '' HUP; echo up; sleep 4321",
    ];
    let client = kept.line(&words).spawn()?;
    client.wait_for_stdout("up\n")?;
    until_there_are(1, "sleep", &kept, world)?;
    client.signal(Signal::KILL)?;
    until_there_are(0, "sleep", &kept, world)?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

/// What a process of this name has in memory, the largest when there are several.
fn resident_kib(kept: &Lasting<'_>, program: &str) -> Result<u64> {
    let sizes = kept.processes(program)?.into_iter().filter_map(|process| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    });
    sizes.max().context("no process has a size")
}

fn unread(world: &World) -> Result<()> {
    let kept = running(world)?;
    let monitor = format!("microagent-{}-supervisor", world.backend().name());
    kept.does(&["exec", NAME, "true"])?;
    let before = resident_kib(&kept, &monitor)?;
    // The reader reads its own input, and none of the command's output.
    let line = format!(
        "exec 3<&0; {} exec {NAME} -- yes </dev/null | {{ read word <&3; }}",
        world.prefix().join("bin/microagent").display()
    );
    let mut stuck = Program::at("/bin/sh")
        .of(kept.home())
        .args(["-c", &line])
        .stdin_held_open()
        .limit(world.limit(SEEN_LIMIT * 4))
        .spawn()?;
    until_there_are(1, "yes", &kept, world)?;
    kept.does(&["exec", NAME, "true"])?;
    let held = resident_kib(&kept, &monitor)?;
    ensure!(
        held < before + GROWTH_KIB_MAX,
        "the monitor grew from {before} KiB to {held} KiB"
    );
    let client = resident_kib(&kept, "microagent")?;
    ensure!(
        client < before + GROWTH_KIB_MAX,
        "a process that hands on what nobody reads has {client} KiB"
    );
    stuck.write(b"go\n")?;
    stuck.finish()?;
    until_there_are(0, "yes", &kept, world)?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

/// A session that waits for its command, one that writes all the time and one that is fed.
const IN_THE_MIDDLE: [&str; 3] = [
    "echo up; sleep 4321",
    "echo up; while :; do echo more; done",
    "echo up; cat > /dev/null",
];

fn in_the_middle(kept: &Lasting<'_>, world: &World) -> Result<Vec<microagent_test::cli::Running>> {
    IN_THE_MIDDLE
        .iter()
        .map(|line| {
            let session = kept
                .line(&["exec", "-i", NAME, "--", "sh", "-c", line])
                .stdin_held_open()
                .limit(world.limit(SEEN_LIMIT * 2))
                .spawn()?;
            session.wait_for_stdout("up\n")?;
            Ok(session)
        })
        .collect()
}

fn ended(world: &World) -> Result<()> {
    let kept = running(world)?;
    let lost = in_the_middle(&kept, world)?;
    let _ = kept
        .line(&["exec", NAME, "--", "sh", "-c", "kill -TERM 1"])
        .run()?;
    for session in lost {
        let finished = session.finish()?;
        ensure!(
            finished.code.is_some_and(|code| code != 0),
            "{:?}",
            finished.code
        );
    }
    kept.does(&["wait", NAME])?;
    kept.ends_well()
}

fn reset(world: &World) -> Result<()> {
    let kept = running(world)?;
    let lost = in_the_middle(&kept, world)?;
    let asked = kept
        .line(&["exec", NAME, "--", "perl", "-e", RESET])
        .run()?;
    for finished in lost
        .into_iter()
        .map(microagent_test::cli::Running::finish)
        .chain([Ok(asked)])
    {
        let finished = finished?.expect_code(125)?;
        let said = finished.stderr_text();
        ensure!(
            said.starts_with("error: the connection to the guest broke\n"),
            "{said}"
        );
    }
    let _ = kept.line(&["wait", NAME]).run()?;
    kept.is("failed", "vm_died")?;
    // It can be started again, and then it serves as before.
    kept.does(&["start", NAME])?;
    kept.does(&["exec", NAME, "true"])?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}
