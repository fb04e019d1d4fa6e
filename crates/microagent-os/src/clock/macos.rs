//! The two clocks whose difference is sleep.
#![expect(unsafe_code, reason = "a clock that only macOS has")]

use std::time::Duration;

/// The monotonic clock counts sleep here, the uptime clock does not.
pub(super) fn time_asleep() -> Duration {
    read(libc::CLOCK_MONOTONIC).saturating_sub(read(libc::CLOCK_UPTIME_RAW))
}

/// Zero for a clock that this kernel does not have.
fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer leads to a value that outlives the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
