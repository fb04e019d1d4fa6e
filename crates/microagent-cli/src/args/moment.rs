//! A moment on the command line: a date, a time, or how long ago.
//!
//! Dates without a zone are UTC, as all times that this command prints: a zone that is guessed is
//! wrong on half the hosts.

use std::str::FromStr;

use microagent_types::{InvalidText, Span, Timestamp};

/// As typed; only the clock makes a moment of an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MomentArg {
    /// A moment.
    At(Timestamp),
    /// So long before now.
    Ago(Span),
}

impl MomentArg {
    /// The moment that is meant.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(span) => Timestamp::from_unix_ms(now.unix_ms().saturating_sub(span.as_ms())),
        }
    }
}

impl FromStr for MomentArg {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let date = text.len() >= 10 && text.as_bytes()[4] == b'-';
        if !date {
            return text.parse().map(Self::Ago).map_err(|_| invalid(text));
        }
        let day = text.get(..10).ok_or_else(|| invalid(text))?;
        let clock = match text.get(10..11) {
            None => "00:00:00.000".to_owned(),
            Some("T" | "t" | " ") => whole(text[11..].trim_end_matches(['Z', 'z'])),
            Some(_) => return Err(invalid(text)),
        };
        format!("{day}T{clock}Z")
            .parse()
            .map(Self::At)
            .map_err(|_| invalid(text))
    }
}

/// Seconds and milliseconds are added where they are left out.
fn whole(clock: &str) -> String {
    match clock.len() {
        5 => format!("{clock}:00.000"),
        8 => format!("{clock}.000"),
        _ => {
            let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
            format!("{seconds}.{fraction:0<3.3}")
        }
    }
}

fn invalid(text: &str) -> InvalidText {
    InvalidText::new(
        "a time",
        text,
        "write 10m for so long ago, or a UTC time: 2026-03-04, 2026-03-04 09:00, \
         2026-03-04T09:00:00Z",
    )
}

#[cfg(test)]
mod tests {
    use super::MomentArg;
    use microagent_types::Timestamp;

    #[test]
    fn dates_times_and_ages_are_moments() {
        let now: Timestamp = "2026-03-04T09:12:43.801Z".parse().unwrap();
        let at = |text: &str| text.parse::<MomentArg>().unwrap().resolve(now).to_string();
        assert_eq!(at("2026-03-04"), "2026-03-04T00:00:00.000Z");
        assert_eq!(at("2026-03-04 09:00"), "2026-03-04T09:00:00.000Z");
        assert_eq!(at("2026-03-04T09:00:01Z"), "2026-03-04T09:00:01.000Z");
        assert_eq!(at("2026-03-04T09:00:01.5Z"), "2026-03-04T09:00:01.500Z");
        assert_eq!(at("10m"), "2026-03-04T09:02:43.801Z");
        for wrong in [
            "",
            "yesterday",
            "2026-03-04x",
            "2026-13-04",
            "2026-03-04T9",
            "-5m",
        ] {
            assert!(wrong.parse::<MomentArg>().is_err(), "{wrong}");
        }
    }
}
