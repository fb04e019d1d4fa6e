//! The definition of one command alone, for a line that is right.
//!
//! To define the flags of every command takes as long as the rest of a short command. So a line is
//! first read by the flags of its own command; what they do not accept, help included, is read again
//! by the whole definition, which alone answers.

use std::ffi::OsString;

use clap::{Args, Command};

use super::{
    ConnectArgs, CpArgs, CreateArgs, DeleteArgs, EventsArgs, ExecArgs, GlobalArgs, HaltArgs,
    KillArgs, ListArgs, LogsArgs, NetworkOfArgs, PauseArgs, PsArgs, QuarantineArgs, ResumeArgs,
    RunArgs, StartArgs, StatusArgs, StopArgs, WaitArgs, scan,
};

/// A command that people wait for: its name, another name, and what defines its flags.
type Entry = (&'static str, Option<&'static str>, fn(Command) -> Command);

const COMMANDS: [Entry; 20] = [
    ("run", None, RunArgs::augment_args),
    ("create", None, CreateArgs::augment_args),
    ("start", None, StartArgs::augment_args),
    ("halt", None, HaltArgs::augment_args),
    ("stop", None, StopArgs::augment_args),
    ("kill", None, KillArgs::augment_args),
    ("pause", None, PauseArgs::augment_args),
    ("resume", None, ResumeArgs::augment_args),
    ("quarantine", None, QuarantineArgs::augment_args),
    ("delete", Some("rm"), DeleteArgs::augment_args),
    ("wait", None, WaitArgs::augment_args),
    ("exec", None, ExecArgs::augment_args),
    ("connect", None, ConnectArgs::augment_args),
    ("cp", None, CpArgs::augment_args),
    ("status", Some("inspect"), StatusArgs::augment_args),
    ("network", None, NetworkOfArgs::augment_args),
    ("list", Some("ls"), ListArgs::augment_args),
    ("ps", None, PsArgs::augment_args),
    ("logs", None, LogsArgs::augment_args),
    ("events", None, EventsArgs::augment_args),
];

/// The definition of the command that is typed; none when it is not one of those above.
pub(super) fn definition(words: &[OsString]) -> Option<Command> {
    let root = GlobalArgs::augment_args(Command::new("microagent"))
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .args_override_self(true);
    let typed = scan::scan(&root, words).first_word?;
    let entry = COMMANDS
        .iter()
        .find(|(name, other, _)| typed == *name || Some(typed.as_str()) == *other)?;
    Some(root.subcommand(of(*entry)))
}

fn of((name, other, define): Entry) -> Command {
    let command = define(Command::new(name));
    match other {
        Some(other) => command.alias(other),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, definition, of};
    use clap::Command;
    use std::ffi::OsString;

    /// What decides how a line is read.
    fn reading(command: &Command) -> (Vec<String>, Vec<String>, bool) {
        let args = command.get_arguments().map(|arg| format!("{arg:?}"));
        let names = command.get_all_aliases().map(str::to_owned);
        (
            args.collect(),
            names.collect(),
            command.is_args_override_self(),
        )
    }

    #[test]
    fn each_reads_as_the_whole_definition_does() {
        let whole = super::super::definition();
        for entry in COMMANDS {
            let theirs = whole.find_subcommand(entry.0).expect("it is a command");
            assert_eq!(reading(&of(entry)), reading(theirs), "{}", entry.0);
        }
    }

    #[test]
    fn the_flags_of_every_command_are_the_same() {
        let whole = super::super::definition();
        let words = ["--state-dir", "run", "status", "web"].map(OsString::from);
        let quick = definition(&words).expect("`status` is typed");
        assert!(quick.find_subcommand("inspect").is_some());
        assert!(quick.find_subcommand("run").is_none());
        assert_eq!(reading(&quick), reading(&whole));
    }

    #[test]
    fn what_is_no_command_of_these_has_none() {
        for words in [&["doctor"][..], &["--json"], &[], &["backup", "web"]] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert!(definition(&words).is_none(), "{words:?}");
        }
    }
}
