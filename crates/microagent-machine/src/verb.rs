//! What a caller may ask of a workspace, and which of two acts gives way.

use crate::words::words;

words! {
    /// The verbs that are recorded as an intent, in order of precedence, weakest first.
    PendingVerb, "a verb";
    /// Booting.
    Start => "start",
    /// Stopping vCPUs.
    Pause => "pause",
    /// Letting them go on.
    Resume => "resume",
    /// Clean shutdown.
    Halt => "halt",
    /// Graceful signal, then kill.
    Stop => "stop",
    /// Severing for forensics.
    Quarantine => "quarantine",
    /// Hard end.
    Kill => "kill",
}

/// Whether a quarantine also stops the vCPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freeze {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// What a session with the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// A command.
    Exec,
    /// A shell.
    Shell,
}

/// A command on a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Make the records of a new workspace.
    Prepare,
    /// Boot.
    Start,
    /// Boot, run one command, end.
    Run,
    /// Boot for copies only.
    Maintenance,
    /// Read: `inspect`, `status`, `logs`, `events`.
    Inspect,
    /// `exec`, or `connect` to a shell.
    Session(SessionKind),
    /// `console`, or `connect` to the serial port.
    Serial,
    /// `cp`.
    Copy,
    /// Clean shutdown.
    Halt,
    /// Graceful signal, then kill.
    Stop,
    /// Hard end.
    Kill,
    /// Stop the vCPUs.
    Pause,
    /// Let them go on.
    Resume,
    /// Sever for forensics.
    Quarantine(Freeze),
    /// Remove the workspace.
    Delete,
    /// Read, repair and clean.
    Reconcile,
}

impl Verb {
    /// Every verb.
    pub const ALL: &'static [Self] = &[
        Self::Prepare,
        Self::Start,
        Self::Run,
        Self::Maintenance,
        Self::Inspect,
        Self::Session(SessionKind::Exec),
        Self::Session(SessionKind::Shell),
        Self::Serial,
        Self::Copy,
        Self::Halt,
        Self::Stop,
        Self::Kill,
        Self::Pause,
        Self::Resume,
        Self::Quarantine(Freeze::No),
        Self::Quarantine(Freeze::Yes),
        Self::Delete,
        Self::Reconcile,
    ];

    /// As it is written in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Start | Self::Maintenance => "start",
            Self::Run => "run",
            Self::Inspect => "inspect",
            Self::Session(SessionKind::Exec) => "exec",
            Self::Session(SessionKind::Shell) => "connect",
            Self::Serial => "console",
            Self::Copy => "cp",
            Self::Halt => "halt",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Quarantine(_) => "quarantine",
            Self::Delete => "delete",
            Self::Reconcile => "reconcile",
        }
    }
}

/// What becomes of an act that arrives while another is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arbitration {
    /// The same verb: both get the answer of the one act.
    Joins,
    /// It is stronger: the one under way fails, overtaken.
    Overtakes,
    /// It is not stronger: it is refused while the other is under way.
    Refused,
}

/// Judges an act that arrives while `pending` is under way.
pub fn arbitrate(pending: PendingVerb, arriving: PendingVerb) -> Arbitration {
    if pending == arriving {
        Arbitration::Joins
    } else if precedence(arriving) > precedence(pending) {
        Arbitration::Overtakes
    } else {
        Arbitration::Refused
    }
}

/// Kill, quarantine, stop, halt, start; pause and resume are as weak as a start.
const fn precedence(verb: PendingVerb) -> u8 {
    match verb {
        PendingVerb::Start | PendingVerb::Pause | PendingVerb::Resume => 0,
        PendingVerb::Halt => 1,
        PendingVerb::Stop => 2,
        PendingVerb::Quarantine => 3,
        PendingVerb::Kill => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kill_quarantine_stop_halt_start() {
        let order = [
            PendingVerb::Start,
            PendingVerb::Halt,
            PendingVerb::Stop,
            PendingVerb::Quarantine,
            PendingVerb::Kill,
        ];
        for (weak, pending) in order.iter().enumerate() {
            for (strong, arriving) in order.iter().enumerate() {
                let expected = match strong.cmp(&weak) {
                    std::cmp::Ordering::Equal => Arbitration::Joins,
                    std::cmp::Ordering::Greater => Arbitration::Overtakes,
                    std::cmp::Ordering::Less => Arbitration::Refused,
                };
                assert_eq!(arbitrate(*pending, *arriving), expected);
            }
        }
    }

    #[test]
    fn acts_of_equal_rank_do_not_overtake_each_other() {
        assert_eq!(
            arbitrate(PendingVerb::Pause, PendingVerb::Start),
            Arbitration::Refused
        );
        assert_eq!(
            arbitrate(PendingVerb::Pause, PendingVerb::Pause),
            Arbitration::Joins
        );
    }
}
