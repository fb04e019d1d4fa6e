//! Firecracker's boot: `start` to ready and a whole `run true`, beside the raw binary with a file of settings;
//! the guest's own time at ready; and what a workspace weighs on the host above its guest's memory.

use crate::bench::{Bench, Report, debian_source, timed};
use crate::compare::Comparison;
use crate::raw_firecracker::{self, MACHINE, RawFirecracker};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const NAME: &str = "bench-boot";
const REFERENCE: &str = "bare Firecracker with a file of settings, reset by its first process";
const KIBIBYTES_OF_GUEST: u64 = 256 * 1024;
const KIBIBYTES_A_MEBIBYTE: f64 = 1024.0;
/// A boot leaves what an idle monitor no longer needs.
const IDLE: Duration = Duration::from_secs(3);

/// Whether there is something to compare; the reason when not.
fn obstacle(bench: &Bench) -> Option<&'static str> {
    let doctor = bench.microagent().args(["doctor", "--json"]).run().ok()?;
    let told = doctor.json().ok()?;
    if raw_firecracker::program().is_none() {
        return Some("there is no `firecracker` on PATH");
    }
    (told["backend"] != "firecracker" || told["accelerator"] != "kvm")
        .then_some("Firecracker does not run here; `cargo xtask bench boot` takes a lab")
}

/// `start` until the guest is ready.
pub(crate) fn start(bench: &Bench) -> Result<Report> {
    const OURS: &str = "microagent start, until the guest is ready";
    if let Some(why) = obstacle(bench) {
        return Ok(Report::no_counterpart(OURS, REFERENCE, why));
    }
    let raw = RawFirecracker::like_the_product(bench)?;
    let one = Workspace::create(bench)?;
    let comparison = Bench::compare_in(
        bench.rounds(),
        || {
            let time = timed(|| one.does(&["start", NAME]).map(drop))?;
            one.does(&["kill", NAME])?;
            Ok(time)
        },
        || raw.run(),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison)
        .with_note("the guest's own set-up after init is in ours only"))
}

/// `run true`, until the prompt is back.
pub(crate) fn run(bench: &Bench) -> Result<Report> {
    const OURS: &str = "microagent run IMAGE true";
    if let Some(why) = obstacle(bench) {
        return Ok(Report::no_counterpart(OURS, REFERENCE, why));
    }
    let raw = RawFirecracker::like_the_product(bench)?;
    let image = debian_source()?;
    let comparison = bench.compare(
        || {
            timed(|| {
                let run = bench.microagent().args(["run", "--network", "isolated"]);
                let run = run.args(MACHINE).args([&image, "--", "true"]);
                run.run()?.expect_code(0).map(drop)
            })
        },
        || raw.run(),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison)
        .with_note("ours includes the clone, the guest's set-up, the session and the removal"))
}

/// The guest's clock at ready, in starts one after the other; the whole `start` is the reference.
pub(crate) fn guest_time(bench: &Bench) -> Result<Report> {
    const OURS: &str = "the guest's clock at ready";
    const WHOLE: &str = "microagent start, until the guest is ready";
    if let Some(why) = obstacle(bench) {
        return Ok(Report::no_counterpart(OURS, WHOLE, why));
    }
    let one = Workspace::create(bench)?;
    let mut comparison = Comparison::default();
    for _ in 0..bench.rounds() {
        let whole = timed(|| one.does(&["start", NAME]).map(drop))?;
        comparison.add(one.guest_time()?, whole);
        one.does(&["kill", NAME])?;
    }
    Ok(Report::new(OURS, WHOLE, comparison))
}

/// Resident memory of VMM and monitor without the guest's own.
pub(crate) fn memory(bench: &Bench) -> Result<Report> {
    const OURS: &str = "microagent status of a running workspace";
    const STATUS: &str = "the same once more";
    if let Some(why) = obstacle(bench) {
        return Ok(Report::no_counterpart(OURS, STATUS, why));
    }
    let one = Workspace::create(bench)?;
    one.does(&["start", NAME])?;
    std::thread::sleep(IDLE);
    let weighed = one.weighed();
    let status = || timed(|| one.does(&["status", NAME]).map(drop));
    let comparison = Bench::compare_in(1, status, status);
    one.does(&["kill", NAME])?;
    let (vmm, monitor) = weighed?;
    let mebibytes = |kibibytes: u64| -> Result<f64> {
        Ok(f64::from(u32::try_from(kibibytes)?) / KIBIBYTES_A_MEBIBYTE)
    };
    Ok(Report::new(OURS, STATUS, comparison?)
        .with_figure("vmm_mib", mebibytes(vmm)?)
        .with_figure("monitor_mib", mebibytes(monitor)?)
        .with_figure("above_mib", mebibytes(vmm + monitor)?)
        .with_note(
            "above_mib is all of both that is in memory, less the mapping that is the guest's",
        ))
}

/// One workspace, gone in the end.
struct Workspace<'a> {
    bench: &'a Bench,
}

impl<'a> Workspace<'a> {
    fn create(bench: &'a Bench) -> Result<Self> {
        let one = Self { bench };
        let image = debian_source()?;
        let words = [
            &["create", NAME][..],
            &MACHINE,
            &["--network", "isolated", "--idle"],
        ];
        let words = [&words.concat()[..], &["--image", &image]].concat();
        one.does(&words)?;
        Ok(one)
    }

    fn does(&self, words: &[&str]) -> Result<String> {
        let finished = self.bench.microagent().args(words).run()?;
        Ok(finished.expect_code(0)?.stdout_text())
    }

    fn guest_time(&self) -> Result<Duration> {
        let workspaces = self.bench.home().state_dir().join("workspaces");
        let events = std::fs::read_to_string(workspaces.join(NAME).join("events.jsonl"))?;
        let last = events
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .rfind(|event| event["type"] == "ready");
        let last = last.and_then(|event| event["data"]["guestUptimeMs"].as_u64());
        last.map(Duration::from_millis)
            .context("the history has no guest time of ready")
    }

    /// Kibibytes of VMM and monitor.
    fn weighed(&self) -> Result<(u64, u64)> {
        let status: Value = serde_json::from_str(&self.does(&["status", "--json", NAME])?)?;
        let resident = |key: &str| -> Result<u64> {
            let pid = status["vm"][key].as_u64().context("no such process")?;
            above_guest(&std::fs::read_to_string(format!("/proc/{pid}/smaps"))?)
        };
        Ok((resident("pid")?, resident("monitorPid")?))
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        // What can't be deleted is found by the home's own end.
        let _ = self.does(&["kill", NAME]);
        let _ = self.does(&["delete", "--yes", NAME]);
    }
}

/// What of a process is in memory, less mappings as large as the guest's memory.
fn above_guest(smaps: &str) -> Result<u64> {
    let mut sum = 0;
    let mut size = 0;
    let mut mappings = 0;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (key, value) = (words.next(), words.next());
        let value = || -> Result<u64> { Ok(value.context("a field has a value")?.parse()?) };
        match key {
            Some("Size:") => {
                size = value()?;
                mappings += 1;
            }
            Some("Rss:") if size < KIBIBYTES_OF_GUEST => sum += value()?,
            _ => {}
        }
    }
    ensure!(mappings > 0, "a process has mappings");
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_s_own_memory_is_left_out() {
        let smaps = "7f0 rw-p 0 00:00 0\nSize: 262144 kB\nRss: 70000 kB\n\
                     7f1 r-xp 0 00:00 0\nSize: 400 kB\nRss: 300 kB\n\
                     7f2 rw-p 0 00:00 0\nSize: 132 kB\nRss: 12 kB\n";
        assert_eq!(above_guest(smaps).unwrap(), 312);
        assert!(above_guest("").is_err());
    }
}
