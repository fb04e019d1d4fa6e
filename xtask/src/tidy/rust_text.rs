//! Rust source as lines of code without comments and strings.
//!
//! Checks that look for words in raw text stumble over their own messages and over prose. This
//! splits a file into what the compiler sees and what it does not, line by line, so that line
//! numbers stay true. It is no parser: it knows comments, strings and characters, nothing else.

/// A source file, split.
pub(crate) struct RustText {
    /// The lines as written.
    pub(crate) lines: Vec<String>,
    /// The same lines, with comments and the insides of strings blanked.
    pub(crate) code: Vec<String>,
    /// The first line of the tests at the foot, when there are any; else the number of lines.
    pub(crate) tests_from: usize,
}

impl RustText {
    /// Splits a file with tests at its foot, or none.
    pub(crate) fn new(text: &str) -> Self {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let tests_from = code
            .iter()
            .position(|line| line.trim() == "#[cfg(test)]")
            .unwrap_or(code.len());
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            code,
            tests_from,
        }
    }

    /// Lines of code before the tests, numbered from 1.
    pub(crate) fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..)
            .zip(self.code.iter().map(String::as_str))
            .take(self.tests_from)
    }
}

#[derive(Clone, Copy)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

fn blank(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut blanked = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let (next, length, keep) = step(inside, rest, characters[..at].last().copied());
        for character in &rest[..length] {
            let shown = keep || *character == '\n';
            blanked.push(if shown { *character } else { ' ' });
        }
        inside = next;
        at += length;
    }
    blanked
}

/// What follows, how many characters are taken, and whether they are code.
fn step(inside: Inside, rest: &[char], before: Option<char>) -> (Inside, usize, bool) {
    let starts = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(at, c)| rest.get(at) == Some(&c))
    };
    match inside {
        Inside::Code => {
            if starts("//") {
                (Inside::LineComment, 2, false)
            } else if starts("/*") {
                (Inside::BlockComment { depth: 1 }, 2, false)
            } else if let Some((hashes, length)) = raw_start(rest, before) {
                (Inside::RawText { hashes }, length, true)
            } else if rest[0] == '"' {
                (Inside::Text, 1, true)
            } else if let Some(length) = character_literal(rest) {
                (Inside::Code, length, false)
            } else {
                (Inside::Code, 1, true)
            }
        }
        Inside::LineComment if rest[0] == '\n' => (Inside::Code, 1, true),
        Inside::LineComment => (inside, 1, false),
        Inside::BlockComment { depth } if starts("*/") => match depth {
            1 => (Inside::Code, 2, false),
            _ => (Inside::BlockComment { depth: depth - 1 }, 2, false),
        },
        Inside::BlockComment { depth } if starts("/*") => {
            (Inside::BlockComment { depth: depth + 1 }, 2, false)
        }
        Inside::BlockComment { .. } => (inside, 1, false),
        Inside::Text if rest[0] == '\\' => (inside, 2.min(rest.len()), false),
        Inside::Text if rest[0] == '"' => (Inside::Code, 1, true),
        Inside::Text => (inside, 1, false),
        Inside::RawText { hashes } => {
            let ends = rest[0] == '"'
                && rest.len() > hashes
                && rest[1..=hashes].iter().all(|character| *character == '#');
            if ends {
                (Inside::Code, hashes + 1, true)
            } else {
                (inside, 1, false)
            }
        }
    }
}

/// The start of a raw string: its hashes and the length of its opening.
fn raw_start(rest: &[char], before: Option<char>) -> Option<(usize, usize)> {
    let in_a_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    // `br"` and `cr"` continue a word of one letter.
    let prefixed = matches!(before, Some('b' | 'c'));
    if rest[0] != 'r' || (in_a_word && !prefixed) {
        return None;
    }
    let hashes = rest[1..]
        .iter()
        .take_while(|character| **character == '#')
        .count();
    (rest.get(1 + hashes) == Some(&'"')).then_some((hashes, hashes + 2))
}

/// The length of a character literal; a lifetime is none.
fn character_literal(rest: &[char]) -> Option<usize> {
    const LENGTH_MAX: usize = 12;
    if rest[0] != '\'' {
        return None;
    }
    if rest.get(1) == Some(&'\\') {
        let end = rest
            .iter()
            .take(LENGTH_MAX)
            .skip(3)
            .position(|character| *character == '\'')?;
        return Some(end + 4);
    }
    (rest.get(2) == Some(&'\'')).then_some(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a("b \" c") d"#, r#"a("      ") d"#),
            ("a(r#\"b \" c\"#) d", "a(r#\"     \"#) d"),
            ("f('\"', 'x') \"y\"", "f(   ,    ) \" \""),
            ("f('\\'', '\\u{1f600}') z", "f(    ,            ) z"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("for \"x\"", "for \" \""),
        ] {
            assert_eq!(blank(text), code, "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = RustText::new("a\n\"one\ntwo\"\nb\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(text.lines.len(), text.code.len());
        assert_eq!(text.product_code().last(), Some((4, "b")));
    }

    #[test]
    fn a_file_that_ends_in_the_middle_is_taken_as_it_is() {
        for text in ["\"a", "/* a", "'", "'\\", "r#\"a", "\"a\\", "r", "r#"] {
            assert_eq!(blank(text).len(), text.len());
        }
    }
}
