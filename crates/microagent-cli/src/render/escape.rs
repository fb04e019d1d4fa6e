//! Text that a guest, an image or a registry chose, made safe to show on a terminal.
//!
//! A label may hold an escape sequence that retitles the terminal, and a direction override can make
//! a name read backwards. Both are shown for what they are. Guest output of `run` and `exec` never
//! comes through here: it is data and passes untouched.

use std::borrow::Cow;

/// The text with control characters and direction overrides escaped. Tabs and line breaks are
/// control characters too.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    character.is_control() || is_direction_override(character)
}

/// The explicit directional characters of the Unicode bidirectional algorithm (UAX 9, section 2).
fn is_direction_override(character: char) -> bool {
    matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn plain_text_in_any_script_is_untouched() {
        for text in ["web-1", "naïve Größe", "日本語", "`x` → y"] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn escape_sequences_line_breaks_and_overrides_are_shown() {
        assert_eq!(escaped("a\u{1b}]0;x\u{7}b"), "a\\u{1b}]0;x\\u{7}b");
        assert_eq!(escaped("a\r\nb"), "a\\r\\nb");
        assert_eq!(escaped("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(escaped("\u{9b}31m"), "\\u{9b}31m");
    }
}
