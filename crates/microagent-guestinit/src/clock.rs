//! The guest's clocks, in one place.
//!
//! Deadlines count on the monotonic clock, `uptimeMs` on the boot clock, and only records name the
//! wall clock, which the host sets.
#![expect(unsafe_code, reason = "every safe call searches the vDSO first")]

use microagent_types::Timestamp;
use rustix::time::{ClockId, Timespec, clock_settime};
use std::mem::MaybeUninit;
use std::time::Duration;

/// A moment on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self(read(ClockId::Monotonic))
    }

    /// That much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// What is left until then; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// Asks the kernel itself. The C library and rustix would look for the call in the vDSO first, which
/// takes an emulated boot 3 ms and saves nothing here, where the time is asked for a few times a second.
fn read(clock: ClockId) -> Duration {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the call takes a clock's number, which the type can't get wrong, and writes one `timespec`
    // to where it is told, which is as large and lives on.
    unsafe {
        libc::syscall(
            libc::SYS_clock_gettime,
            clock as libc::c_int,
            now.as_mut_ptr(),
        )
    };
    // SAFETY: two integers, and zero when the call wrote nothing.
    let now = unsafe { now.assume_init() };
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Milliseconds since the kernel began.
pub fn uptime_ms() -> u64 {
    whole_ms(read(ClockId::Boottime))
}

/// The wall clock.
pub fn timestamp() -> Timestamp {
    Timestamp::from_unix_ms(whole_ms(read(ClockId::Realtime)))
}

/// Whole milliseconds of a span; what does not fit is the largest number.
pub fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Sets the wall clock and says by how many milliseconds it moved.
///
/// # Errors
/// When the kernel refuses.
pub fn step_to(unix_us: u64) -> std::io::Result<i64> {
    let target = Duration::from_micros(unix_us);
    let before = read(ClockId::Realtime);
    clock_settime(ClockId::Realtime, timespec(target))?;
    Ok(signed_ms(target) - signed_ms(before))
}

fn signed_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A span as the kernel takes it.
pub(crate) fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;
    use std::time::Duration;

    #[test]
    fn a_deadline_that_lies_ahead_has_not_passed() {
        let ahead = Moment::now().after(Duration::from_mins(1));
        assert!(!ahead.has_passed());
        assert!(ahead.left() > Duration::from_secs(50));
        assert!(Moment::now().has_passed());
    }
}
