//! A first look over the words, for what must be known even when they are wrong.
//!
//! `--json` decides the form of a usage error, so it is needed before clap has accepted anything, and
//! a `--json` among the guest's words must not count. The look uses the same definition as the parser
//! to tell flags from their values, and it refuses nothing.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, ValueEnum as _};

use crate::printer::ColorChoice;

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// `--json`.
    pub(super) json: bool,
    /// `--color`, when its value is one.
    pub(super) color: Option<ColorChoice>,
    /// The command, once its words came: `run`, `kernel install`.
    pub(super) command: Option<String>,
    /// The first word behind the command that is no flag.
    pub(super) first_word: Option<String>,
    /// The word directly after a `-v` that stands alone.
    pub(super) after_short_v: Vec<String>,
}

/// Looks at the words in front of the guest's. `root` need not have been built: that costs more than the
/// rest of a short command.
pub(super) fn scan(root: &Command, words: &[OsString]) -> Seen {
    let mut seen = Seen::default();
    let mut command = root;
    let mut words = words.iter().map(|word| word.to_string_lossy()).peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word == "-v"
            && let Some(next) = words.peek()
        {
            seen.after_short_v.push(next.to_string());
        }
        if let Some(flag) = word.strip_prefix("--") {
            let (name, attached) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            seen.json |= name == "json";
            let value = match attached {
                None if long_takes_value(root, command, name) => words.next().map(String::from),
                attached => attached,
            };
            if name == "color" {
                seen.color = value.and_then(|text| ColorChoice::from_str(&text, false).ok());
            }
        } else if word.len() > 1 && word.starts_with('-') {
            if shorts_take_next(root, command, &word[1..]) {
                words.next();
            }
        } else if let Some(sub) = command.find_subcommand(word.as_ref())
            && seen.first_word.is_none()
        {
            command = sub;
            seen.command = Some(match seen.command.take() {
                Some(group) => format!("{group} {}", sub.get_name()),
                None => sub.get_name().to_owned(),
            });
        } else {
            seen.first_word.get_or_insert_with(|| word.to_string());
            if ends_flags(command) {
                break;
            }
        }
    }
    seen
}

/// The command that was seen. `root` must have been built.
pub(super) fn find<'a>(root: &'a Command, seen: &Seen) -> Option<&'a Command> {
    let words = seen.command.as_deref()?.split(' ');
    words
        .into_iter()
        .try_fold(root, |command, word| command.find_subcommand(word))
}

/// The flags of a command, and those of every command.
fn flags<'a>(root: &'a Command, command: &'a Command) -> impl Iterator<Item = &'a Arg> {
    let of_every = root.get_arguments().filter(|arg| arg.is_global_set());
    command.get_arguments().chain(of_every)
}

fn long_takes_value(root: &Command, command: &Command, name: &str) -> bool {
    let flag = flags(root, command).find(|arg| {
        arg.get_long_and_visible_aliases()
            .is_some_and(|all| all.contains(&name))
    });
    flag.is_some_and(|arg| takes_value(arg.get_action()))
}

/// Whether the last of bundled short flags takes the next word as its value.
fn shorts_take_next(root: &Command, command: &Command, shorts: &str) -> bool {
    let takes = |short: char| {
        let flag = flags(root, command).find(|arg| arg.get_short() == Some(short));
        flag.is_some_and(|arg| takes_value(arg.get_action()))
    };
    match shorts.chars().position(takes) {
        Some(at) => at + 1 == shorts.chars().count(),
        None => false,
    }
}

fn takes_value(action: &ArgAction) -> bool {
    matches!(action, ArgAction::Set | ArgAction::Append)
}

/// Whether the first word that is no flag ends the flags of this command.
fn ends_flags(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_trailing_var_arg_set)
}
