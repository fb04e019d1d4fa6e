//! Firecracker's versions: which ones work here, and what each of them lacks. Pure.

use std::fmt;
use std::str::FromStr;

/// A version of Firecracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirecrackerVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

const fn version(major: u32, minor: u32, patch: u32) -> FirecrackerVersion {
    FirecrackerVersion {
        major,
        minor,
        patch,
    }
}

/// The oldest that works.
pub const OLDEST: FirecrackerVersion = version(1, 10, 0);
/// The first of the next generation, whose API is not known here.
pub const TOO_NEW: FirecrackerVersion = version(2, 0, 0);
/// The first whose balloon reports free pages.
const FREE_PAGE_REPORTING: FirecrackerVersion = version(1, 14, 0);
/// Versions that deliver no vsock data to a guest any more after a pause.
const PAUSE_BREAKS_VSOCK: [FirecrackerVersion; 2] = [version(1, 16, 0), version(1, 16, 1)];

/// A version that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Firecracker {found} is not supported; {OLDEST} and later of generation 1 are")]
pub struct UnsupportedVersion {
    /// It.
    pub found: FirecrackerVersion,
}

/// A text that is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Firecracker's version can't be read")]
pub struct NoVersion;

impl FirecrackerVersion {
    /// Whether this backend can drive it.
    pub fn check(self) -> Result<(), UnsupportedVersion> {
        if (OLDEST..TOO_NEW).contains(&self) {
            Ok(())
        } else {
            Err(UnsupportedVersion { found: self })
        }
    }

    /// Whether memory that the guest frees can go back to the host by itself.
    pub fn reports_free_pages(self) -> bool {
        self >= FREE_PAGE_REPORTING
    }

    /// Whether a paused guest can be reached again once it goes on.
    pub fn can_pause(self) -> bool {
        !PAUSE_BREAKS_VSOCK.contains(&self)
    }
}

impl fmt::Display for FirecrackerVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for FirecrackerVersion {
    type Err = NoVersion;

    /// `1.15.1`, also with a `v` before it or a suffix like `-dev`.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = text.split('.').map(str::parse);
        match [
            numbers.next(),
            numbers.next(),
            numbers.next(),
            numbers.next(),
        ] {
            [Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None] => {
                Ok(version(major, minor, patch))
            }
            _ => Err(NoVersion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_firecracker_says_of_itself_is_read() {
        for text in ["1.15.1", "v1.15.1", "1.15.1-dev"] {
            assert_eq!(text.parse(), Ok(version(1, 15, 1)), "{text}");
        }
        for text in ["", "1.15", "1.15.1.0", "1.x.1", "99999999999.0.0"] {
            assert_eq!(text.parse::<FirecrackerVersion>(), Err(NoVersion), "{text}");
        }
    }

    #[test]
    fn the_supported_range_ends_on_both_sides() {
        for (text, supported) in [
            ("1.9.9", false),
            ("1.10.0", true),
            ("1.16.1", true),
            ("2.0.0", false),
        ] {
            let found: FirecrackerVersion = text.parse().unwrap();
            assert_eq!(found.check().is_ok(), supported, "{text}");
        }
        assert_eq!(
            version(1, 9, 0).check().unwrap_err().to_string(),
            "Firecracker 1.9.0 is not supported; 1.10.0 and later of generation 1 are"
        );
    }

    #[test]
    fn two_versions_must_not_be_paused() {
        let can = |text: &str| text.parse::<FirecrackerVersion>().unwrap().can_pause();
        assert!(can("1.15.1") && can("1.16.2") && can("1.17.0"));
        assert!(!can("1.16.0") && !can("1.16.1"));
    }
}
