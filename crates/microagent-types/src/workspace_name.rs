//! The name of a workspace: also its folder and the guest's host name, so it must be safe as all three.

use crate::text_form::{InvalidText, checked_string, is_dns_label};

/// A workspace name: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, and no Windows device name, on any host,
/// so that a state directory can move.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkspaceName(String);

/// Longest name in bytes: one DNS label (RFC 1035, section 2.3.4).
pub const WORKSPACE_NAME_BYTES_MAX: usize = 63;

impl WorkspaceName {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        if is_dns_label(text, WORKSPACE_NAME_BYTES_MAX) && !is_windows_device(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "a workspace name",
            text,
            "use 1 to 63 lower-case letters, digits and hyphens",
        ))
    }

    /// The nearest valid name to a refused one, for a hint; `None` when nothing is left of it.
    pub fn suggest(text: &str) -> Option<Self> {
        let mapped: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(WORKSPACE_NAME_BYTES_MAX)
            .collect();
        Self::parse_text(mapped.trim_matches('-')).ok()
    }
}

checked_string!(WorkspaceName);

fn is_windows_device(text: &str) -> bool {
    if matches!(text, "con" | "prn" | "aux" | "nul") {
        return true;
    }
    let (stem, digit) = text.split_at(text.len().saturating_sub(1));
    matches!(stem, "com" | "lpt") && digit.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::WorkspaceName;

    #[test]
    fn names_that_are_dns_labels_are_accepted() {
        for text in ["a", "0", "web", "a-b", "com", "com10", &"x".repeat(63)] {
            assert_eq!(text.parse::<WorkspaceName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "a/b",
            "..",
            "con",
            "com1",
            "lpt9",
            "ä",
            &"x".repeat(64),
        ] {
            assert!(text.parse::<WorkspaceName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refused_name_has_a_near_one() {
        assert_eq!(WorkspaceName::suggest("Web_1").unwrap().as_str(), "web-1");
        assert_eq!(WorkspaceName::suggest("__"), None);
    }

    #[test]
    fn json_goes_through_the_same_parser() {
        assert!(serde_json::from_str::<WorkspaceName>("\"A\"").is_err());
        let name: WorkspaceName = serde_json::from_str("\"web\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"web\"");
    }
}
