//! How often something may happen: so many a second over time, so many at once.
//!
//! Pure: the present moment comes in as a value. What a guest may send or open is bounded with it.

use std::time::Instant;

/// A bucket of permissions that fills at a steady rate.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    a_second: f64,
    burst: f64,
    permits: f64,
    counted_at: Instant,
}

impl RateLimit {
    /// Full at the beginning.
    pub(crate) fn new(a_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            a_second: f64::from(a_second),
            burst: f64::from(burst),
            permits: f64::from(burst),
            counted_at: now,
        }
    }

    /// So many a minute, and as many at once.
    pub(crate) fn a_minute(count: u32, now: Instant) -> Self {
        Self {
            a_second: f64::from(count) / 60.0,
            ..Self::new(0, count, now)
        }
    }

    /// Takes one permission; false when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted_at);
        self.counted_at = now.max(self.counted_at);
        self.permits = (self.permits + passed.as_secs_f64() * self.a_second).min(self.burst);
        if self.permits < 1.0 {
            return false;
        }
        self.permits -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::RateLimit;
    use std::time::Duration;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let start = microagent_os::clock::monotonic();
        let mut limit = RateLimit::new(50, 200, start);
        assert_eq!((0..1000).filter(|_| limit.take(start)).count(), 200);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| limit.take(later)).count(), 50);
        let much_later = start + Duration::from_mins(10);
        assert_eq!((0..1000).filter(|_| limit.take(much_later)).count(), 200);
    }
}
