//! The command as the script that the lab's init runs.
//!
//! Words go through a shell, so each is quoted. The kernel's command line would be no place for
//! them: it is short and has quoting rules of its own.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Variables that the command keeps from outside.
const KEPT: [&str; 4] = ["HOME", "PATH", "CARGO_HOME", "RUSTUP_HOME"];

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Program and arguments.
    pub(crate) words: Vec<String>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
    /// Its environment, beside what is kept from outside.
    pub(crate) environment: Vec<(String, String)>,
}

/// Reads words like `NAME=VALUE`.
pub(crate) fn parse_environment(words: &[String]) -> Result<Vec<(String, String)>> {
    words
        .iter()
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .filter(|(name, _)| is_name(name))
                .with_context(|| format!("`{word}` is not like NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Command {
    /// The script.
    pub(crate) fn script(&self, outside: impl Fn(&str) -> Option<String>) -> String {
        let kept = KEPT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), outside(name)?)));
        let variables = kept.chain(self.environment.iter().cloned());
        let mut lines: Vec<String> = variables
            .map(|(name, value)| format!("export {name}={}", quoted(&value)))
            .collect();
        let folder = self.folder.to_string_lossy();
        lines.push(format!("cd {} || exit 125", quoted(&folder)));
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        lines.push(format!("exec {}", words.join(" ")));
        lines.join("\n") + "\n"
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reaches_the_command_as_it_was() {
        let words = ["printf", r"%s\n", "a b", "it's", "$HOME", "", "*"];
        let command = Command {
            words: words.map(str::to_owned).into(),
            folder: "/".into(),
            environment: vec![("MARK".to_owned(), "x 'y'".to_owned())],
        };
        let script = command.script(|_| None);
        let output = crate::shell::Run::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(output, "a b\nit's\n$HOME\n\n*\n");
        assert!(script.starts_with(r"export MARK='x '\''y'\'''"), "{script}");
    }

    #[test]
    fn what_a_toolchain_needs_is_kept_from_outside() {
        let command = Command {
            words: vec!["true".to_owned()],
            folder: "/src".into(),
            environment: Vec::new(),
        };
        let script = command.script(|name| (name == "HOME").then(|| "/home/u".to_owned()));
        assert_eq!(
            script,
            "export HOME='/home/u'\ncd '/src' || exit 125\nexec 'true'\n"
        );
    }

    #[test]
    fn a_variable_without_a_name_is_refused() {
        for word in ["=x", "x", "1A=x", "A-B=x"] {
            assert!(parse_environment(&[word.to_owned()]).is_err(), "{word}");
        }
    }
}
