//! Every moment that a monitor waits for, by name: one timer each, set anew or cleared, the earliest
//! taken first. A wait without an entry here has no limit, so every wait has one.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The guest should have said hello.
    Hello,
    /// The guest should have said something during its boot.
    Silence,
    /// The guest should be ready.
    Ready,
    /// The guest should have beaten.
    Heartbeat,
    /// The act under way should be done, or goes on to its next step.
    Act,
    /// A client should have bound itself to the VM.
    Bound,
    /// What is left of console and control connection should have come.
    Drain,
    /// Events that need no sync at once get one.
    Sync,
    /// Records that could not be written are tried again.
    Retry,
    /// Sessions that waited for the guest have waited enough.
    Waiting,
    /// It is time to look at what nobody tells.
    Upkeep,
}

/// The timers that run.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeMap<Timer, Instant>);

impl Timers {
    /// Sets a timer, in place of what it was set to.
    pub(crate) fn set(&mut self, timer: Timer, after: Duration) {
        self.0.insert(timer, Instant::now() + after);
    }

    /// Sets a timer unless it runs.
    pub(crate) fn set_if_idle(&mut self, timer: Timer, after: Duration) {
        self.0
            .entry(timer)
            .or_insert_with(|| Instant::now() + after);
    }

    /// Stops a timer.
    pub(crate) fn clear(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    /// The earliest timer.
    pub(crate) fn earliest(&self) -> Option<(Timer, Instant)> {
        self.0
            .iter()
            .map(|(timer, at)| (*timer, *at))
            .min_by_key(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Timer, Timers};
    use std::time::Duration;

    #[test]
    fn the_earliest_timer_comes_first_and_a_cleared_one_never() {
        let mut timers = Timers::default();
        timers.set(Timer::Ready, Duration::from_mins(1));
        timers.set(Timer::Hello, Duration::from_secs(20));
        timers.set_if_idle(Timer::Hello, Duration::from_secs(1));
        assert_eq!(timers.earliest().unwrap().0, Timer::Hello);
        timers.clear(Timer::Hello);
        assert_eq!(timers.earliest().unwrap().0, Timer::Ready);
    }
}
