//! What differs from run to run, replaced by words, so that a whole output can be one snapshot.
//!
//! Pure: text in, text out. It replaces whole tokens of known forms and nothing that a test might want
//! to see: numbers in sentences stay.

use std::path::Path;

const HEX_SHORT: usize = 12;
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// `text` with the home's path, uuids, digests, times and generated names replaced by `[HOME]`,
/// `[UUID]`, `[DIGEST]`, `[TIME]` and `[NAME]`.
pub fn stable(text: &str, home: &Path) -> String {
    let text = text.replace(&*home.to_string_lossy(), "[HOME]");
    let mut result = String::with_capacity(text.len());
    let mut token = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | ':' | '.' | '_') {
            token.push(character);
        } else {
            result.push_str(&word(&token));
            token.clear();
            result.push(character);
        }
    }
    result.push_str(&word(&token));
    result
}

fn word(token: &str) -> String {
    // Punctuation that ends a sentence or a list entry is no part of the token.
    let core = token.trim_end_matches([':', '.']);
    let tail = &token[core.len()..];
    let replaced = if is_uuid(core) {
        "[UUID]"
    } else if is_digest(core) {
        "[DIGEST]"
    } else if is_time(core) {
        "[TIME]"
    } else if is_generated_name(core) {
        "[NAME]"
    } else {
        return token.to_owned();
    };
    format!("{replaced}{tail}")
}

fn is_hex(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_uuid(token: &str) -> bool {
    let groups: Vec<&str> = token.split('-').collect();
    groups.len() == UUID_GROUPS.len()
        && groups
            .iter()
            .zip(UUID_GROUPS)
            .all(|(group, length)| group.len() == length && is_hex(group))
}

fn is_digest(token: &str) -> bool {
    match token.strip_prefix("sha256:") {
        Some(hex) => hex.len() >= HEX_SHORT && is_hex(hex),
        None => token.len() == 64 && is_hex(token),
    }
}

fn is_time(token: &str) -> bool {
    let shape = "0000-00-00T00:00:00";
    token.len() >= shape.len()
        && token.bytes().zip(shape.bytes()).all(|(found, wanted)| {
            if wanted == b'0' {
                found.is_ascii_digit()
            } else {
                found == wanted
            }
        })
}

fn is_generated_name(token: &str) -> bool {
    let parts: Vec<&str> = token.split('-').collect();
    matches!(parts.as_slice(), ["run", first, second, hex]
        if [first, second].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase()))
            && hex.len() == 4
            && is_hex(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_replaced_and_the_rest_stays() {
        let home = Path::new("/tmp/microagent-test-x1");
        for (text, expected) in [
            (
                "`/tmp/microagent-test-x1/state` has 3 files",
                "`[HOME]/state` has 3 files",
            ),
            ("boot 5b0a6f5e-0c57-4d8c-9f0e-8d2a2f7f2c11.", "boot [UUID]."),
            ("sha256:0123456789abcdef: broken", "[DIGEST]: broken"),
            ("at 2026-03-04T09:00:00.123Z, ok", "at [TIME], ok"),
            ("run-brave-otter-1f2e is gone", "[NAME] is gone"),
            ("run-as-root and 12 MiB", "run-as-root and 12 MiB"),
        ] {
            assert_eq!(stable(text, home), expected);
        }
    }
}
