//! Moments and ages as people read them, always in UTC: no time zone is guessed.

use std::time::Duration;

use microagent_types::{Span, Timestamp};

/// `2026-03-04 09:12:44Z`.
pub(crate) fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {}Z", &text[..10], &text[11..19])
}

/// `2026-03-04 09:12:43.801`, for histories.
pub(crate) fn moment_ms(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {}", &text[..10], &text[11..23])
}

/// `3 h 12 min`.
pub(crate) fn since(time: Timestamp, now: Timestamp) -> String {
    Span::from(Duration::from_millis(now.ms_since(time))).to_string()
}

/// The same with its largest unit only: `3 h`.
pub(crate) fn age(time: Timestamp, now: Timestamp) -> String {
    let whole_seconds = now.ms_since(time) / 1000;
    let text = Span::from(Duration::from_secs(whole_seconds)).to_string();
    let text = if whole_seconds == 0 {
        "0 s".to_owned()
    } else {
        text
    };
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{age, moment, moment_ms, since};
    use microagent_types::Timestamp;

    #[test]
    fn moments_are_utc_and_ages_have_one_unit() {
        let time: Timestamp = "2026-03-04T09:12:43.801Z".parse().unwrap();
        let later = Timestamp::from_unix_ms(time.unix_ms() + 11_521_000);
        assert_eq!(moment(time), "2026-03-04 09:12:43Z");
        assert_eq!(moment_ms(time), "2026-03-04 09:12:43.801");
        assert_eq!(since(time, later), "3 h 12 min");
        assert_eq!(age(time, later), "3 h");
        assert_eq!(age(time, time), "0 s");
        assert_eq!(age(later, time), "0 s");
    }
}
