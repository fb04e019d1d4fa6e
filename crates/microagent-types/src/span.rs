//! Spans of time as people type them.

use crate::text_form::InvalidText;
use std::fmt;
use std::time::Duration;

/// A span: `250ms`, `30s`, `5m`, `1h30m`, `2d`, `1.5s`; a bare number is seconds. Never negative, at
/// most 3650 days, so that adding one to a clock can't overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span(Duration);

const SPAN_MAX: Duration = Duration::from_hours(3650 * 24);
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl Span {
    /// No time at all; where a flag says so, no limit.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The span as the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Milliseconds; fits since spans are bounded.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).expect("a span is at most 3650 days")
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let invalid = || InvalidText::new("a duration", text, "write 250ms, 30s, 5m, 1h30m or 2d");
        let mut rest = text;
        let mut total_ms: u128 = 0;
        let mut unit_last = u64::MAX;
        while !rest.is_empty() {
            let digits = rest
                .bytes()
                .take_while(|b| b.is_ascii_digit() || *b == b'.')
                .count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (name, tail) = tail.split_at(letters);
            let name = if name.is_empty() && unit_last == u64::MAX {
                "s"
            } else {
                name
            };
            let unit = UNITS
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(invalid)?
                .1;
            if unit >= unit_last {
                return Err(invalid());
            }
            unit_last = unit;
            total_ms += fraction_of(number, unit).ok_or_else(invalid)?;
            rest = tail;
        }
        let total = u64::try_from(total_ms)
            .map(Duration::from_millis)
            .map_err(|_| invalid())?;
        if unit_last == u64::MAX || total > SPAN_MAX {
            return Err(invalid());
        }
        Ok(Self(total))
    }
}

/// `number` times `unit`, where the number may have up to six decimals.
fn fraction_of(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 6 || whole.len() > 12 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let numerator: u128 = fraction.parse().ok()?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole * u128::from(unit) + numerator * u128::from(unit) / scale)
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration.min(SPAN_MAX))
    }
}

impl fmt::Display for Span {
    /// For people: `187 ms`, `1.2 s`, `15 s`, `4 min`, `3 h 12 min`, `2 d`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.as_ms();
        let text = match ms {
            0..1000 => format!("{ms} ms"),
            1000..10_000 if ms % 1000 >= 100 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
            1000..60_000 => format!("{} s", ms / 1000),
            60_000..3_600_000 => format!("{} min", ms / 60_000),
            3_600_000..86_400_000 => match ms % 3_600_000 / 60_000 {
                0 => format!("{} h", ms / 3_600_000),
                minutes => format!("{} h {minutes} min", ms / 3_600_000),
            },
            _ => format!("{} d", ms / 86_400_000),
        };
        formatter.pad(&text)
    }
}

impl std::str::FromStr for Span {
    type Err = InvalidText;
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::parse_text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn the_documented_forms_mean_what_they_say() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("30", 30_000),
            ("0", 0),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1.5s", 1500),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().as_ms(), ms, "{text}");
        }
    }

    #[test]
    fn negative_unknown_and_disordered_ones_are_refused() {
        for text in [
            "", "-1s", "1x", "30m1h", "1s1s", "s", "1h30", "1..5s", "99999d",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn people_see_the_two_largest_units() {
        for (text, shown) in [
            ("187ms", "187 ms"),
            ("1.2s", "1.2 s"),
            ("15s", "15 s"),
            ("4m", "4 min"),
            ("3h12m", "3 h 12 min"),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), shown);
        }
    }
}
