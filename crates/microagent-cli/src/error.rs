//! How a command fails, what a person reads then, and which code the process ends with.
//!
//! Whatever went wrong below arrives as a fault. Here it gets its text (`cli.md` 1.5) and its code
//! (1.6), in one place and without a wildcard, so that a new kind of failure can't slip past. Nothing
//! here prints.

use std::io;

use microagent_os::clock;
use microagent_types::{SignalName, WorkspaceName};
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::WorkspaceError;
use microagent_workspace::guest_session::SessionError;

use crate::printer::Paint;
use crate::render::escape::escaped;
use crate::render::table::lines;
use crate::wording::{self, Act};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A command failed.
    Command(Fault),
    /// `run` or `exec` failed before or beside the guest's command, whose own codes must stay apart.
    Session(Fault),
    /// Several things that were written are wrong, and all are told.
    Several {
        /// The first, with the others as its causes: for one document.
        all: Box<Fault>,
        /// One by one: for people.
        each: Vec<Fault>,
    },
    /// A signal to this process ended it.
    Signalled {
        /// What was interrupted.
        fault: Fault,
        /// The signal's number.
        signal: u8,
    },
    /// The detach keys ended a session; nothing went wrong.
    Detached,
    /// The reader of stdout went away; nobody is there to be told.
    ClosedPipe,
}

impl Failure {
    /// What was typed is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Command(usage(message, hint))
    }

    /// Everything that is wrong with a file; there is at least one.
    pub(crate) fn of_problems(problems: impl IntoIterator<Item = Fault>) -> Self {
        let each: Vec<Fault> = problems.into_iter().collect();
        let (first, others) = each.split_first().expect("a refusal has a reason");
        if others.is_empty() {
            return Self::Command(first.clone());
        }
        let all = others.iter().fold(first.clone(), |all, other| {
            all.with_cause(other.message.clone())
        });
        Self::Several {
            all: Box::new(all),
            each,
        }
    }

    /// The faults to show to a person, one after the other.
    pub(crate) fn faults(&self) -> &[Fault] {
        match self {
            Self::Several { each, .. } => each,
            Self::Command(fault) | Self::Session(fault) | Self::Signalled { fault, .. } => {
                std::slice::from_ref(fault)
            }
            Self::Detached | Self::ClosedPipe => &[],
        }
    }

    /// What the library's error means for this process.
    pub(crate) fn of_library(error: &WorkspaceError) -> Self {
        match error {
            WorkspaceError::Session(SessionError::OutputClosed(_)) => Self::ClosedPipe,
            WorkspaceError::Interrupted { signal } => Self::Signalled {
                fault: error.fault(),
                signal: signal.number(),
            },
            _ => Self::Command(error.fault()),
        }
    }

    /// The same failure about an act on a workspace, in this command's words.
    pub(crate) fn of_act(self, act: Act, name: &WorkspaceName) -> Self {
        let reworded = |fault| wording::reword(act, name, fault, clock::now());
        match self {
            Self::Command(fault) => Self::Command(reworded(fault)),
            Self::Session(fault) => Self::Session(reworded(fault)),
            Self::Several { .. } | Self::Signalled { .. } | Self::Detached | Self::ClosedPipe => {
                self
            }
        }
    }

    /// The same failure with the codes of `run` and `exec`.
    pub(crate) fn in_session(self) -> Self {
        match self {
            Self::Command(fault) => Self::Session(fault),
            Self::Session(_)
            | Self::Several { .. }
            | Self::Signalled { .. }
            | Self::Detached
            | Self::ClosedPipe => self,
        }
    }

    /// The fault to show; `None` when there is nobody to show it to.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Command(fault) | Self::Session(fault) | Self::Signalled { fault, .. } => {
                Some(fault)
            }
            Self::Several { all, .. } => Some(all),
            Self::Detached | Self::ClosedPipe => None,
        }
    }

    /// What the process returns.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Command(fault) if fault.retryable && fault.kind != FaultKind::Timeout => {
                exit_code::RETRYABLE
            }
            Self::Command(fault) => exit_code::of_kind(fault.kind),
            Self::Session(fault) => exit_code::of_kind_in_session(fault.kind),
            Self::Several { all, .. } => exit_code::of_kind(all.kind),
            Self::Signalled { signal, .. } => exit_code::of_signal(*signal),
            // As if the terminal had hung up on the command, which is what the guest does.
            Self::Detached => exit_code::of_signal(SignalName::HUP.number()),
            Self::ClosedPipe => exit_code::CLOSED_PIPE,
        }
    }
}

/// A fault about what was typed.
pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Usage, message).with_hint(hint)
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Command(fault)
    }
}

/// A failed write to stdout. A closed pipe is how `| head` says that it has enough.
pub(crate) fn stdout_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Command(
            Fault::new(FaultKind::Resource, "cannot write to stdout").with_cause(error.to_string()),
        ),
    }
}

/// The text of a fault for people, with its final line break.
pub(crate) fn text(fault: &Fault, paint: Paint) -> String {
    let mut answer = vec![format!(
        "{} {}",
        paint.error("error:"),
        escaped(&fault.message)
    )];
    if let Some(hint) = &fault.hint {
        answer.push(format!("  {} {}", paint.hint("hint:"), escaped(hint)));
    }
    for cause in &fault.cause {
        let cause = format!("cause: {}", escaped(cause));
        answer.push(format!("  {}", paint.dimmed(&cause)));
    }
    lines(answer)
}

#[cfg(test)]
mod tests {
    use super::{Failure, text};
    use crate::printer::Paint;
    use microagent_wire::fault::{Fault, FaultKind};

    #[test]
    fn every_kind_has_the_code_of_the_table() {
        let code = |kind| Failure::Command(Fault::new(kind, "x")).exit_code();
        let table: Vec<u8> = FaultKind::ALL.into_iter().map(code).collect();
        assert_eq!(table, [2, 1, 1, 1, 75, 75, 124, 1, 1, 1, 1, 1, 1, 130, 1]);
    }

    #[test]
    fn in_a_session_everything_but_usage_and_signals_is_125() {
        let code = |kind| Failure::Session(Fault::new(kind, "x")).exit_code();
        let table: Vec<u8> = FaultKind::ALL.into_iter().map(code).collect();
        assert_eq!(
            table,
            [
                2, 125, 125, 125, 125, 125, 125, 125, 125, 125, 125, 125, 125, 130, 125
            ]
        );
    }

    #[test]
    fn a_retryable_fault_of_another_kind_is_75() {
        let mut fault = Fault::new(FaultKind::Backend, "x");
        fault.retryable = true;
        assert_eq!(Failure::Command(fault).exit_code(), 75);
    }

    #[test]
    fn detaching_is_a_hang_up_and_nothing_to_tell() {
        assert_eq!(Failure::Detached.exit_code(), 129);
        assert!(Failure::Detached.fault().is_none());
    }

    #[test]
    fn a_signal_is_128_and_its_number() {
        let fault = Fault::new(FaultKind::Interrupted, "x");
        assert_eq!(Failure::Signalled { fault, signal: 15 }.exit_code(), 143);
    }

    #[test]
    fn message_hint_and_causes_stand_on_their_own_lines() {
        let fault = Fault::new(
            FaultKind::Unavailable,
            "cannot pull docker.io/library/debian:12",
        )
        .with_hint("check the network connection, then run the command again")
        .with_cause("registry-1.docker.io did not answer")
        .with_cause("tcp connect to 203.0.113.9:443: timed out after 10 s");
        insta::assert_snapshot!(text(&fault, Paint::Plain), @r"
        error: cannot pull docker.io/library/debian:12
          hint: check the network connection, then run the command again
          cause: registry-1.docker.io did not answer
          cause: tcp connect to 203.0.113.9:443: timed out after 10 s
        ");
    }

    #[test]
    fn colour_marks_the_words_and_a_guest_cannot_add_any() {
        let fault = Fault::new(FaultKind::Guest, "\u{1b}[32mfine").with_hint("x");
        let coloured = text(&fault, Paint::Ansi);
        assert!(coloured.starts_with("\u{1b}[1;31merror:\u{1b}[0m \\u{1b}[32mfine"));
        assert!(!text(&fault, Paint::Plain).contains('\u{1b}'));
    }
}
