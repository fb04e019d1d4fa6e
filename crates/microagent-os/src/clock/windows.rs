//! The two clocks whose difference is sleep.

use std::time::Duration;

use crate::windows::clock;

/// The interrupt time counts sleep, the unbiased one does not. Both count 100 ns.
pub(super) fn time_asleep() -> Duration {
    let asleep = clock::interrupt_time().saturating_sub(clock::unbiased_interrupt_time());
    Duration::from_nanos(asleep.saturating_mul(100))
}
