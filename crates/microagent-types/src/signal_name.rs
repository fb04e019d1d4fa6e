//! Signals by name, as images and people write them; the number is Linux's, since the guest is.

use crate::text_form::{InvalidText, text_form};
use std::fmt;

/// A Linux signal: a name with or without `SIG`, `RTMIN+n`, or a number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalName(u8);

/// Names and numbers of signal(7), the same on x86-64 and arm64.
const NAMES: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// What the C library calls `SIGRTMIN`: the kernel's first two real-time signals are its own.
const RTMIN: u8 = 34;
const SIGNAL_MAX: u8 = 64;

impl SignalName {
    /// The polite request to end, the default stop signal.
    pub const TERM: Self = Self(15);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(2);
    /// What a closed terminal sends.
    pub const HUP: Self = Self(1);
    /// The one that can't be caught.
    pub const KILL: Self = Self(9);

    /// `None` outside 1 to 64.
    pub fn from_number(number: u8) -> Option<Self> {
        (1..=SIGNAL_MAX).contains(&number).then_some(Self(number))
    }

    /// The number in the guest.
    pub const fn number(self) -> u8 {
        self.0
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let invalid = || {
            InvalidText::new(
                "a signal",
                text,
                "write a name such as TERM or SIGTERM, RTMIN+n, or 1 to 64",
            )
        };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .and_then(Self::from_number)
                .ok_or_else(invalid);
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        if let Some(offset) = name.strip_prefix("RTMIN") {
            let offset: u8 = match offset.strip_prefix('+') {
                None if offset.is_empty() => 0,
                Some(number) => number.parse().map_err(|_| invalid())?,
                None => return Err(invalid()),
            };
            return RTMIN
                .checked_add(offset)
                .and_then(Self::from_number)
                .ok_or_else(invalid);
        }
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| Self(*number))
            .ok_or_else(invalid)
    }
}

impl fmt::Display for SignalName {
    /// With `SIG`: `SIGTERM`, `SIGRTMIN+3`; the two that have no name as numbers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(formatter, "SIG{name}"),
            None if self.0 == RTMIN => formatter.write_str("SIGRTMIN"),
            None if self.0 > RTMIN => write!(formatter, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(formatter, "{}", self.0),
        }
    }
}

text_form!(SignalName);

#[cfg(test)]
mod tests {
    use super::SignalName;

    #[test]
    fn every_signal_reads_back() {
        for number in 1..=64 {
            let signal = SignalName::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<SignalName>().unwrap(), signal);
        }
    }

    #[test]
    fn the_usual_spellings_are_the_same_signal() {
        for text in ["TERM", "SIGTERM", "15"] {
            assert_eq!(text.parse::<SignalName>().unwrap(), SignalName::TERM);
        }
        assert_eq!("RTMIN+3".parse::<SignalName>().unwrap().number(), 37);
        for text in ["", "0", "65", "term", "SIG", "RTMIN+31", "SIGFOO"] {
            assert!(text.parse::<SignalName>().is_err(), "{text}");
        }
    }
}
