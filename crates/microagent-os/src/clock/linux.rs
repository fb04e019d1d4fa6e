//! The two clocks whose difference is sleep.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

pub(super) fn time_asleep() -> Duration {
    duration_of(clock_gettime(ClockId::Boottime))
        .saturating_sub(duration_of(clock_gettime(ClockId::Monotonic)))
}

fn duration_of(time: Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
