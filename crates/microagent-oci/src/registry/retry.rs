//! Whether, and when, to ask again. Pure.

use std::time::Duration;

use super::{error::RegistryError, options::Waits};

/// New bytes of a download that let its tries be counted anew.
pub(crate) const PROGRESS_BYTES_MIN: u64 = 1 << 20;

/// The pause before the next try after `failures` in a row, or `None` when it is enough.
pub(crate) fn pause(error: &RegistryError, failures: u32, waits: Waits) -> Option<Duration> {
    let worth = match error {
        RegistryError::Unreachable { .. }
        | RegistryError::Stalled { .. }
        | RegistryError::Broken { .. }
        | RegistryError::RateLimited { .. } => true,
        RegistryError::Status { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
        _ => false,
    };
    if !worth || failures >= waits.tries_max {
        return None;
    }
    let doubled = waits.pause_first * 2u32.saturating_pow(failures.saturating_sub(1).min(16));
    let asked = match error {
        RegistryError::RateLimited { after, .. } => after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    Some(doubled.max(asked).min(waits.pause_max))
}

/// What a `Retry-After` header asks for; only its form in seconds is read.
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(after: Option<u64>) -> RegistryError {
        RegistryError::RateLimited {
            host: "r".into(),
            after: after.map(Duration::from_secs),
        }
    }

    fn status(status: u16) -> RegistryError {
        RegistryError::Status {
            host: "r".into(),
            status,
            message: None,
        }
    }

    #[test]
    fn pauses_double_and_end() {
        let waits = Waits::ORDINARY;
        let ms = |failures| pause(&status(503), failures, waits).map(|p| p.as_millis());
        assert_eq!(
            [ms(1), ms(2), ms(3), ms(4), ms(5)],
            [Some(300), Some(600), Some(1200), Some(2400), None]
        );
    }

    #[test]
    fn a_registry_is_heard_up_to_a_bound() {
        let waits = Waits::ORDINARY;
        assert_eq!(
            pause(&limited(Some(7)), 1, waits),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            pause(&limited(Some(86_400)), 1, waits),
            Some(waits.pause_max)
        );
        assert_eq!(
            pause(&limited(None), 1, waits),
            Some(Duration::from_millis(300))
        );
        assert_eq!(retry_after(" 12 "), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
    }

    #[test]
    fn what_will_not_change_is_not_asked_again() {
        let blob = "b".to_owned();
        let wrong = RegistryError::SizeMismatch {
            blob,
            expected: 1,
            found: 2,
        };
        assert_eq!(pause(&wrong, 1, Waits::ORDINARY), None);
        for code in [400, 403, 404, 418, 501] {
            assert_eq!(pause(&status(code), 1, Waits::ORDINARY), None, "{code}");
        }
    }
}
