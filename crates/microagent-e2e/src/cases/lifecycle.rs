//! A workspace from create to delete: what its guest wrote stays, every verb does what its name says,
//! and what makes no sense in a state is refused with the command that would help.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::Signal;
use microagent_test::fsck;
use std::net::TcpStream;
use std::time::Duration;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "lifecycle::what_a_guest_wrote_is_there_after_a_halt_and_a_start",
            kept,
        ),
        case(
            "lifecycle::a_paused_guest_goes_on_where_it_was_and_knows_the_time",
            paused,
        ),
        case(
            "lifecycle::a_guest_paused_in_the_midst_of_traffic_is_within_reach_afterwards",
            paused_busy,
        ),
        case(
            "lifecycle::a_workload_that_ends_is_waited_for_and_its_code_is_kept",
            workload,
        ),
        case("lifecycle::two_starts_at_once_make_one_vm", two_starts),
        case(
            "lifecycle::a_detached_run_takes_the_place_of_another_and_stays_up",
            detached,
        ),
    ]
}

fn kept(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &["--env", "TOKEN=s3cret"], &[])?;
    kept.is("prepared", "created")?;
    kept.refuses(&["exec", NAME, "true"], "wrong_state")?;
    kept.does(&["start", NAME])?;
    let running = kept.is("running", "ready")?;
    ensure!(running["readiness"]["execReady"] == true, "{running:#}");
    kept.shell("echo kept > /root/note; echo \"$TOKEN\" > /root/token")?;
    kept.does(&["wait", "--for", "ready", NAME])?;
    let listed = kept.does(&["ps", "-q"])?.stdout_text();
    ensure!(listed == format!("{NAME}\n"), "{listed}");
    kept.refuses(&["delete", "--yes", NAME], "wrong_state")?;

    kept.does(&["halt", NAME])?;
    let halted = kept.status()?;
    ensure!(halted["state"] == "halted", "{halted:#}");
    ensure!(halted["vm"].is_null(), "{halted:#}");
    ensure!(kept.does(&["ps", "-q"])?.stdout.is_empty());
    check::processes_gone(world, kept.home())?;
    fsck::clean(&kept.disk())?;

    kept.does(&["start", NAME])?;
    ensure!(kept.shell("cat /root/note /root/token")? == "kept\ns3cret\n");
    kept.does(&["stop", NAME])?;
    kept.is("stopped", "stopped")?;
    kept.does(&["start", NAME])?;
    ensure!(kept.shell("cat /root/note")? == "kept\n");
    kept.does(&["quarantine", "--note", "case 17", NAME])?;
    kept.refuses(&["exec", NAME, "true"], "wrong_state")?;
    kept.refuses(&["start", NAME], "wrong_state")?;
    kept.does(&["kill", NAME])?;
    let killed = kept.is("stopped", "killed")?;
    ensure!(killed["quarantine"]["active"] == false, "{killed:#}");
    kept.ends_well()
}

fn paused(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    kept.does(&["start", NAME])?;
    kept.does(&["pause", NAME])?;
    kept.is("paused", "paused")?;
    kept.refuses(&["exec", NAME, "true"], "wrong_state")?;
    kept.refuses(&["halt", NAME], "wrong_state")?;
    // Long enough for a guest's clock that was not told to show it.
    std::thread::sleep(Duration::from_secs(3));
    kept.does(&["resume", NAME])?;
    kept.is("running", "resumed")?;
    let before = seconds();
    let guest: u64 = kept.shell("date +%s")?.trim().parse()?;
    ensure!(
        (before.saturating_sub(1)..=seconds() + 1).contains(&guest),
        "the guest says {guest}, the host {before}"
    );
    // It stays within reach each time, also for who comes at once.
    for _ in 0..5 {
        kept.does(&["pause", NAME])?;
        kept.does(&["resume", NAME])?;
        ensure!(kept.shell("echo here")? == "here\n");
    }
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

/// The device between guest and monitor does not bear that anything happens while the guest stands still:
/// input for a command, output of one, a client that goes, somebody who knocks at a published port.
fn paused_busy(world: &World) -> Result<()> {
    const PUBLISHED: &str = "127.0.0.1:0:9";
    let kept = Lasting::create(world, &["--publish", PUBLISHED], &[])?;
    kept.does(&["start", NAME])?;
    let network = kept.line(&["network", "--json", NAME]).run()?.json()?;
    let port = network["publish"][0]["hostPort"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok());
    let port = port.with_context(|| format!("no host port in {network:#}"))?;
    for _ in 0..4 {
        let zeros = std::path::Path::new("/dev/zero");
        let takes = kept
            .line(&[
                "exec",
                "-i",
                NAME,
                "--",
                "sh",
                "-c",
                "echo up; cat > /dev/null",
            ])
            .stdin_file(zeros)
            .spawn()?;
        takes.wait_for_stdout("up\n")?;
        let says = kept
            .line(&[
                "exec",
                NAME,
                "--",
                "sh",
                "-c",
                "while sleep 0.01; do echo said; done",
            ])
            .spawn()?;
        says.wait_for_stdout("said\n")?;
        kept.does(&["pause", NAME])?;
        // Who knocks now, or goes now, is heard of when the guest goes on.
        let knocking = TcpStream::connect(("127.0.0.1", port))?;
        says.signal(Signal::KILL)?;
        says.finish()?;
        std::thread::sleep(Duration::from_millis(300));
        kept.does(&["resume", NAME])?;
        drop(knocking);
        ensure!(kept.shell("echo here")? == "here\n");
        takes.signal(Signal::TERM)?;
        takes.finish()?.expect_code(143)?;
        kept.shell("for n in $(seq 100); do grep -q sleep /proc/[0-9]*/comm || exit 0; sleep 0.1; done; exit 1")?;
    }
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

fn seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn workload(world: &World) -> Result<()> {
    let command = ["sh", "-c", "echo on the console; sleep 1; exit 7"];
    let kept = Lasting::create(world, &[], &command)?;
    kept.does(&["start", NAME])?;
    let waited = kept.line(&["wait", "--json", NAME]).run()?.json()?;
    let result = &waited["results"][0];
    ensure!(result["exit"]["code"] == 7, "{waited:#}");
    let status = kept.status()?;
    ensure!(status["state"] == "failed", "{status:#}");
    ensure!(status["exit"]["code"] == 7, "{status:#}");
    kept.console_says(|console| console.contains("on the console"))?;
    fsck::clean(&kept.disk())?;
    kept.ends_well()
}

fn detached(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    let before = kept.status()?;
    let image = world.debian_source()?;
    let flags = ["run", "--detach", "--replace", "--name", NAME];
    let size = ["--profile", "tiny", "--network", "isolated"];
    let command = ["sh", "-c", "echo on the console; exec sleep 1000"];
    let ran = kept.does(&[&flags[..], &size, &[&image], &command].concat())?;
    ensure!(ran.stdout_text() == format!("{NAME}\n"));
    let running = kept.is("running", "ready")?;
    ensure!(running["id"] != before["id"], "{running:#}");
    kept.console_says(|console| console.contains("on the console"))?;
    ensure!(kept.shell("echo here")? == "here\n");
    kept.does(&["stop", NAME])?;
    kept.ends_well()
}

fn two_starts(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    let start = || kept.line(&["start", NAME]).spawn();
    let (first, second) = (start()?, start()?);
    let codes = [first.finish()?.code, second.finish()?.code];
    ensure!(codes.contains(&Some(0)), "{codes:?}");
    ensure!(kept.processes(world.backend().vmm())?.len() == 1);
    ensure!(kept.status()?["vm"]["bootCount"] == 1);
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}
