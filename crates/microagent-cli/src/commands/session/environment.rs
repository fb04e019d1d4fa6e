//! The guest's environment, from flags and files.
//!
//! Values are taken literally: no quotes, no expansion. A message never shows a value, since values
//! are where people keep secrets.

use std::path::Path;

use microagent_os::fs;
use microagent_types::env_vars::read_named;
use microagent_types::{EnvName, Environment};
use microagent_wire::fault::{Fault, FaultKind};

use crate::args::{EnvironmentArgs, invalid_text};
use crate::error::usage;

/// Largest environment file in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads files in order, then flags over them.
fn resolve(
    files: &[impl AsRef<Path>],
    flags: &[String],
    of_this_process: impl Fn(&EnvName) -> Option<String>,
) -> Result<Environment, Fault> {
    let mut environment = Environment::new();
    for file in files {
        let path = file.as_ref();
        let text = read(path)?;
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{}:{}", path.display(), index + 1);
            set(&mut environment, line, &of_this_process).map_err(|fault| at(&place, fault))?;
        }
    }
    for flag in flags {
        set(&mut environment, flag, &of_this_process)?;
    }
    Ok(environment)
}

/// As [`resolve`], where a name without a value takes that of this process.
pub(in crate::commands) fn of_args(args: &EnvironmentArgs) -> Result<Environment, Fault> {
    resolve(&args.env_file, &args.env, read_named)
}

fn set(
    environment: &mut Environment,
    line: &str,
    of_this_process: impl Fn(&EnvName) -> Option<String>,
) -> Result<(), Fault> {
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (line, None),
    };
    let parsed: EnvName = name
        .parse()
        .map_err(|refused| invalid_text(Some("--env"), name, &refused))?;
    let value = value.or_else(|| of_this_process(&parsed)).ok_or_else(|| {
        usage(
            format!("environment variable `{parsed}` is not set here"),
            format!("give it a value: --env {parsed}=VALUE"),
        )
    })?;
    environment
        .set(parsed, value)
        .map_err(|refused| usage(refused.to_string(), refused.expected))
}

fn read(path: &Path) -> Result<String, Fault> {
    fs::read_text_bounded(path, FILE_BYTES_MAX).map_err(|error| {
        let kind = if error.is_not_found() {
            FaultKind::NotFound
        } else {
            FaultKind::Usage
        };
        Fault::from_error(kind, &error)
            .with_hint("--env-file takes a text file of KEY=VALUE lines, at most 1 MiB")
    })
}

fn at(place: &str, fault: Fault) -> Fault {
    Fault {
        message: format!("{place}: {}", fault.message),
        ..fault
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test makes its files as anybody would"
    )]

    use super::resolve;
    use microagent_types::EnvName;

    fn home_only(name: &EnvName) -> Option<String> {
        (name.as_str() == "HOME").then(|| "/root".to_owned())
    }

    fn flags(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    const NO_FILES: [&str; 0] = [];

    #[test]
    fn values_are_literal_and_a_bare_name_takes_this_processs_value() {
        let environment = resolve(
            &NO_FILES,
            &flags(&["A=1=2", "B= 'x' ", "HOME", "E="]),
            home_only,
        )
        .unwrap();
        assert_eq!(environment.get("A"), Some("1=2"));
        assert_eq!(environment.get("B"), Some(" 'x' "));
        assert_eq!(environment.get("HOME"), Some("/root"));
        assert_eq!(environment.get("E"), Some(""));
    }

    #[test]
    fn an_unset_variable_and_a_bad_name_are_refused() {
        let unset = resolve(&NO_FILES, &flags(&["NOPE"]), home_only).unwrap_err();
        assert_eq!(unset.message, "environment variable `NOPE` is not set here");
        let bad = resolve(&NO_FILES, &flags(&["1X=secret"]), home_only).unwrap_err();
        assert!(bad.message.contains("`1X`") && !format!("{bad:?}").contains("secret"));
    }

    #[test]
    fn later_files_win_over_earlier_and_flags_over_all_and_errors_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, "# first\n\nA=one\nB=one\nC=one\n").unwrap();
        std::fs::write(&two, "B=two\nC=two\n").unwrap();
        let environment = resolve(&[&one, &two], &flags(&["C=flag"]), home_only).unwrap();
        let value = |name| environment.get(name).unwrap().to_owned();
        assert_eq!(
            (value("A"), value("B"), value("C")),
            ("one".into(), "two".into(), "flag".into())
        );

        std::fs::write(&two, "B=two\nnot a name=1\n").unwrap();
        let fault = resolve(&[&two], &[], home_only).unwrap_err();
        assert!(
            fault.message.starts_with(&format!("{}:2: ", two.display())),
            "{fault:?}"
        );
    }
}
