//! Headers: every file opens with what it is, and every crate with what it must not do.

use super::{Problem, SourceFile};

/// How a header may put a limit into words.
const LIMITS: &[&str] = &["must not", "never", "does not", "do not", "nothing", "no "];

/// The header of a file; tests beside a file have that file's.
pub(super) fn check(source: &SourceFile) -> Vec<Problem> {
    if source.is_test() {
        return Vec::new();
    }
    let header: Vec<&str> = source
        .text
        .lines
        .iter()
        .map_while(|line| line.strip_prefix("//!"))
        .collect();
    if header.is_empty() {
        return vec![Problem::in_file(
            &source.path,
            "the file does not open with what it is (`//!`)",
        )];
    }
    let is_crate_root = source.is_in(&["lib", "main"]);
    let words = header.join(" ").to_lowercase();
    if is_crate_root && !LIMITS.iter().any(|limit| words.contains(limit)) {
        return vec![Problem::in_file(
            &source.path,
            "the crate's header does not say what it must not do",
        )];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(inner: &str, text: &str) -> bool {
        check(&SourceFile::new("microagent-os", inner, text)).is_empty()
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert!(!is_fine("src/lock.rs", "use std::io;\n"));
        assert!(is_fine("src/lock.rs", "//! Locks.\nuse std::io;\n"));
        assert!(is_fine("src/fs/tests.rs", "use super::*;\n"));
    }

    #[test]
    fn a_crate_says_what_it_must_not_do() {
        assert!(!is_fine("src/lib.rs", "//! Doors.\n"));
        assert!(is_fine(
            "src/lib.rs",
            "//! Doors.\n//!\n//! It must not know a record.\n"
        ));
    }
}
