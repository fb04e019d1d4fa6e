//! What clap found wrong, in the words of `cli.md` section 6.
//!
//! clap's own sentences are good, but they are not the product's: no kind, no hint line, no backticks,
//! and nothing a script could read. Each of its error kinds becomes a usage fault here.

use std::error::Error as _;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use microagent_types::{ByteSize, ImageSource, InvalidText, WorkspaceName};
use microagent_wire::fault::Fault;

use super::foreign_words;
use super::scan::{self, Seen};
use crate::error::usage;
use crate::nearest::nearest;

/// The fault for a command line that clap refused. `root` must have been built.
pub(super) fn fault(root: &Command, seen: &Seen, error: &clap::Error) -> Fault {
    let command = scan::find(root, seen);
    let name = called(command);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = one(error, ContextKind::InvalidSubcommand);
            match command {
                Some(group) => unknown_in_group(group, &typed),
                None => unknown_command(root, &typed),
            }
        }
        ErrorKind::UnknownArgument => {
            let typed = one(error, ContextKind::InvalidArg);
            unknown_argument(root, command, seen, &typed)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => refused_value(command, error),
        ErrorKind::MissingRequiredArgument => {
            let missing = all(error, ContextKind::InvalidArg).join(" and ");
            usage(
                format!("{} needs {missing}", words(command)),
                see_help(&name),
            )
        }
        ErrorKind::ArgumentConflict => {
            let one = one(error, ContextKind::InvalidArg);
            let others = all(error, ContextKind::PriorArg);
            let others: Vec<String> = others.iter().map(|other| flag_only(other)).collect();
            usage(
                format!(
                    "`{}` cannot be used with `{}`",
                    flag_only(&one),
                    others.join("`, `")
                ),
                format!("leave one of them out: {name} --help"),
            )
        }
        ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            let flag = one(error, ContextKind::InvalidArg);
            usage(
                format!("`{}` needs a value", flag_only(&flag)),
                see_help(&name),
            )
        }
        ErrorKind::TooManyValues => {
            let flag = one(error, ContextKind::InvalidArg);
            usage(
                format!("`{}` takes no value", flag_only(&flag)),
                see_help(&name),
            )
        }
        ErrorKind::InvalidUtf8 => usage("a word is not valid UTF-8", see_help(&name)),
        _ => usage(first_line(error), see_help(&name)),
    }
}

fn unknown_command(root: &Command, typed: &str) -> Fault {
    if let Some(fault) = foreign_words::command(root, typed) {
        return fault;
    }
    let known = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .flat_map(Command::get_name_and_visible_aliases);
    let all = "all commands: microagent --help";
    let hint = match nearest(typed, known) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all.to_owned(),
    };
    usage(format!("`{typed}` is not a microagent command"), hint)
}

fn unknown_argument(root: &Command, command: Option<&Command>, seen: &Seen, typed: &str) -> Fault {
    let name = called(command);
    let is = |name: &str| command.is_some_and(|command| command.get_name() == name);
    if is("create")
        && !typed.starts_with('-')
        && let Some(workspace) = &seen.first_word
    {
        return usage(
            format!("unexpected word `{typed}` after the workspace name"),
            format!(
                "the image goes in --image: microagent create {workspace} --image {typed}; a \
                 command goes after --"
            ),
        );
    }
    if !typed.starts_with('-') {
        return usage(
            format!("unexpected word `{typed}`"),
            format!("{} takes no such word: {name} --help", words(command)),
        );
    }
    if let Some(fault) = foreign_words::flag(root, typed) {
        return fault;
    }
    let flags: Vec<String> = command
        .unwrap_or(root)
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
        .collect();
    let all = format!("all flags: {name} --help");
    let hint = match nearest(typed, flags.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all,
    };
    usage(format!("{} has no flag `{typed}`", words(command)), hint)
}

fn refused_value(command: Option<&Command>, error: &clap::Error) -> Fault {
    let flag = one(error, ContextKind::InvalidArg);
    let value = one(error, ContextKind::InvalidValue);
    if let Some(refused) = error
        .source()
        .and_then(|source| source.downcast_ref::<InvalidText>())
    {
        return invalid_text(Some(&flag_only(&flag)), &value, refused);
    }
    if value.is_empty() {
        return usage(
            format!("`{}` needs a value", flag_only(&flag)),
            see_help(&called(command)),
        );
    }
    if flag_only(&flag) == "--network" {
        return usage(
            format!("there is no network mode `{value}`"),
            "modes: nat (outbound, default), isolated (none), bridged (Apple VF only); to reach a \
             guest port: --publish 8080:80",
        );
    }
    let known = all(error, ContextKind::ValidValue);
    let list = format!("known: {}", known.join(", "));
    let hint = match nearest(&value, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? {list}"),
        None if known.is_empty() => see_help(&called(command)),
        None => list,
    };
    let of = if flag.starts_with('-') {
        flag_only(&flag)
    } else {
        words(command)
    };
    let message = match error.source() {
        Some(source) => format!("`{value}` does not fit `{of}`: {source}"),
        None => format!("`{value}` is no value of `{of}`"),
    };
    usage(message, hint)
}

/// The fault for a text that is not what its place demands; `flag` is where it stood.
pub(crate) fn invalid_text(flag: Option<&str>, value: &str, refused: &InvalidText) -> Fault {
    let message = format!("`{}` is not {}", refused.value, refused.what);
    if ByteSize::lacks_unit(value) && refused.what == "a size" {
        let hint = match flag {
            Some(flag) => format!("{flag} {value}M"),
            None => format!("write {value}M"),
        };
        return usage(format!("size `{}` has no unit", refused.value), hint);
    }
    if refused.what == "a published port" && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return usage(
            format!("`{value}` names one port, two are needed"),
            format!("write HOSTPORT:GUESTPORT, for example --publish {value}:{value}"),
        );
    }
    let suggestion = match refused.what {
        "a workspace name" | "a host name" => {
            WorkspaceName::suggest(value).map(|name| name.to_string())
        }
        "an image reference" => ImageSource::suggest(value),
        _ => None,
    };
    match suggestion {
        Some(suggestion) => usage(
            message,
            format!("{}, for example `{suggestion}`", refused.expected),
        ),
        None => usage(message, refused.expected),
    }
}

/// `run`, or `microagent` where no command came.
fn words(command: Option<&Command>) -> String {
    let name = called(command);
    name.strip_prefix("microagent ").unwrap_or(&name).to_owned()
}

/// `microagent run`, `microagent kernel install`.
fn called(command: Option<&Command>) -> String {
    command
        .and_then(Command::get_bin_name)
        .unwrap_or("microagent")
        .to_owned()
}

fn unknown_in_group(group: &Command, typed: &str) -> Fault {
    let name = called(Some(group));
    let all = format!("all of them: {name} --help");
    let known = group
        .get_subcommands()
        .flat_map(Command::get_name_and_visible_aliases);
    let hint = match nearest(typed, known) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all,
    };
    usage(
        format!("`{typed}` is no command of `{}`", words(Some(group))),
        hint,
    )
}

fn see_help(name: &str) -> String {
    format!("how it is used: {name} --help")
}

/// `--memory` from clap's `--memory <SIZE>`.
fn flag_only(flag: &str) -> String {
    flag.split([' ', '=']).next().unwrap_or(flag).to_owned()
}

fn one(error: &clap::Error, kind: ContextKind) -> String {
    all(error, kind).into_iter().next().unwrap_or_default()
}

fn all(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
