//! What a monitor looks at now and then, since nobody tells it: whether the host has slept, whether its own
//! log has grown too long, and whether it holds memory that nothing needs.

use super::owner::{Owner, Stage};
use super::timers::Timer;
use crate::monitor_log;
use microagent_os::{clock, process};
use microagent_wire::guest::control::HostMessage;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Between two looks. Timers do not run while the host sleeps, so a look follows soon after.
const UPKEEP_PAUSE: Duration = Duration::from_secs(5);
/// A sleep that is shorter is left to the guest's own clock discipline.
const SLEEP_MIN: Duration = Duration::from_secs(5);

/// How long the host has slept in all, as last seen.
#[derive(Debug)]
pub(super) struct SleepWatch(Duration);

impl SleepWatch {
    /// Begins with what has been slept so far.
    pub(super) fn new(asleep: Duration) -> Self {
        Self(asleep)
    }

    /// Whether the host has slept since this last said so.
    fn has_slept(&mut self, asleep: Duration) -> bool {
        let slept = asleep.saturating_sub(self.0) >= SLEEP_MIN;
        if slept {
            self.0 = asleep;
        }
        slept
    }
}

impl Owner<'_> {
    /// Has the next look come.
    pub(super) fn schedule_upkeep(&mut self) {
        self.timers.set(Timer::Upkeep, UPKEEP_PAUSE);
    }

    /// Looks.
    pub(super) fn keep_up(&mut self) {
        if self.slept.has_slept(clock::time_asleep()) {
            tracing::info!("the host has slept");
            // A guest without a running CPU is told when it is resumed.
            if self.stage == Stage::Running && !self.book.state().is_frozen() {
                self.set_guest_clock();
            }
        }
        let paths = self.book.paths().clone();
        drop(spawn_blocking(move || {
            if let Err(error) = monitor_log::bound(&paths) {
                tracing::warn!(%error, "the monitor's log was not set aside");
            }
            // A start needs more than what follows it, and so does a busy session.
            process::trim_heap();
        }));
        self.schedule_upkeep();
    }

    /// Tells the guest what time it is.
    pub(super) fn set_guest_clock(&self) {
        if let Some(control) = &self.control {
            control.sender.send(&HostMessage::Clock {
                time_unix_us: clock::unix_us(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SleepWatch;
    use std::time::Duration;

    #[test]
    fn a_sleep_is_told_once_and_a_drift_of_moments_never() {
        let at = Duration::from_secs;
        let mut watch = SleepWatch::new(at(100));
        assert!(!watch.has_slept(at(100)));
        assert!(!watch.has_slept(at(104)));
        assert!(watch.has_slept(at(105)), "short ones add up");
        assert!(!watch.has_slept(at(109)));
        assert!(watch.has_slept(at(3705)));
        assert!(!watch.has_slept(at(3705)));
    }
}
