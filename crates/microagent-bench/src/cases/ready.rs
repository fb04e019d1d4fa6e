//! How long a guest is under way, on its own clock: to ready, beside to the first instruction of init.

use crate::bench::{Bench, Report, debian_source};
use crate::compare::Comparison;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::time::Duration;

const OURS: &str = "kernel entry to ready";
const REFERENCE: &str = "kernel entry to init";
const NAME: &str = "bench-ready";
/// What the kernel says when it enters init.
const MARK: &str = "Run /init as init process";

pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    let mut comparison = Comparison::default();
    for _ in 0..bench.rounds() {
        let Some((ready, init)) = one_boot(bench)? else {
            return Ok(Report::no_counterpart(
                OURS,
                REFERENCE,
                "the history of this release has no guest time of ready",
            ));
        };
        comparison.add(ready, init);
    }
    Ok(Report::new(OURS, REFERENCE, comparison)
        .with_note("both are of the same boot, on the guest's clock"))
}

fn one_boot(bench: &Bench) -> Result<Option<(Duration, Duration)>> {
    let finished = bench
        .microagent()
        .args(["run", "--keep", "--name", NAME, &debian_source()?])
        .args(["--", "dmesg"])
        .run()?
        .expect_code(0)?;
    let workspace = bench.home().state_dir().join("workspaces").join(NAME);
    let events = std::fs::read_to_string(workspace.join("events.jsonl"));
    // The next boot must be a first one again.
    std::fs::remove_dir_all(&workspace).context("cannot remove the kept workspace")?;
    let init = entering_init(&finished.stdout_text())
        .context("the kernel's messages do not say when it entered init")?;
    Ok(ready(&events?).map(|ready| (ready, init)))
}

/// `[    0.571204] Run /init as init process`
fn entering_init(messages: &str) -> Option<Duration> {
    let line = messages.lines().find(|line| line.contains(MARK))?;
    let seconds = line.trim_start_matches('[').split(']').next()?.trim();
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

fn ready(events: &str) -> Option<Duration> {
    events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["type"] == "ready")
        .and_then(|event| event["data"]["guestUptimeMs"].as_u64())
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_time_of_entering_init_is_read() {
        let messages = "[    0.000000] Linux\n[    0.571204] Run /init as init process\n";
        assert_eq!(
            entering_init(messages),
            Some(Duration::from_micros(571_204))
        );
        assert_eq!(entering_init("nothing"), None);
    }

    #[test]
    fn a_history_without_the_guest_s_time_has_none() {
        let with =
            "{\"type\":\"created\"}\n{\"type\":\"ready\",\"data\":{\"guestUptimeMs\":640}}\n";
        assert_eq!(ready(with), Some(Duration::from_millis(640)));
        assert_eq!(
            ready("{\"type\":\"ready\",\"data\":{\"readyMs\":900}}\n"),
            None
        );
    }
}
