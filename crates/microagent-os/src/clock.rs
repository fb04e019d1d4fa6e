//! The time of day, a clock that never goes back, and deadlines.
//!
//! Pure code takes moments as values; whoever needs one asks here, so a search for this module
//! finds every place that depends on when it runs.

use std::time::{Duration, Instant, SystemTime};

use microagent_types::Timestamp;

#[cfg(target_os = "linux")]
#[path = "clock/linux.rs"]
mod platform;
#[cfg(target_os = "macos")]
#[path = "clock/macos.rs"]
mod platform;
#[cfg(windows)]
#[path = "clock/windows.rs"]
mod platform;

/// The present moment. A host clock before 1970 reads as 1970.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_ms(whole_ms(since_epoch))
}

/// Microseconds since 1970, for setting a guest's clock.
pub fn unix_us() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// A clock that never goes back, for measuring spans.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A span as records and messages hold it: whole milliseconds, at most what 64 bits hold.
pub fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// How long the host has slept since its boot: the lead of the clock that counts sleep over the
/// one that does not. A jump of it means that the host was suspended.
pub fn time_asleep() -> Duration {
    platform::time_asleep()
}

/// The pause between two tries of something that cannot push. The caller passes a named constant.
pub fn pause(between_tries: Duration) {
    std::thread::sleep(between_tries);
}

/// A moment after which waiting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The longest wait; more is cut to it, so that adding can't overflow.
    const AFTER_MAX: Duration = Duration::from_hours(10 * 365 * 24);

    /// So long from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit.min(Self::AFTER_MAX))
    }

    /// What is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True once it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The moment on the clock that never goes back.
    pub fn instant(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_text_of_now_is_what_a_date_library_reads() {
        let before = jiff::Timestamp::now().as_millisecond();
        let text = now().to_string();
        let read: jiff::Timestamp = text.parse().unwrap();
        assert!(
            (before..before + 60_000).contains(&read.as_millisecond()),
            "{text}"
        );
    }

    #[test]
    fn a_deadline_of_any_length_can_be_made() {
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert!(!Deadline::after(Duration::MAX).has_passed());
    }
}
