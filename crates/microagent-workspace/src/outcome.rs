//! How a command in a guest ended, and what it wrote.

use microagent_types::{SignalName, Timestamp};
use microagent_wire::exit_code;
use microagent_wire::guest::service::SessionExit;

/// Linux's `ENOENT`, as the guest reports it.
const ENOENT: i32 = 2;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// It returned.
    Exited {
        /// What it returned.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// Which.
        signal: SignalName,
    },
    /// Its time limit ended it.
    TimedOut,
    /// It never ran: the guest did not find it or could not execute it.
    NotStarted {
        /// What the guest's kernel said.
        errno: i32,
        /// One sentence.
        message: String,
    },
}

impl CommandEnd {
    pub(crate) fn from_exit(exit: &SessionExit) -> Self {
        if let Some(not_started) = &exit.not_started {
            return Self::NotStarted {
                errno: not_started.errno,
                message: not_started.message.clone(),
            };
        }
        match (exit.timed_out, exit.signal, exit.code) {
            (true, _, _) => Self::TimedOut,
            (_, Some(signal), _) => Self::Signaled { signal },
            (_, _, code) => Self::Exited {
                code: code.unwrap_or(1),
            },
        }
    }

    /// What a process should return that stands for this command.
    pub fn exit_code(&self) -> u8 {
        match self {
            // A guest's code is what its kernel keeps of it: eight bits.
            Self::Exited { code } => u8::try_from(code & 0xff).expect("masked to eight bits"),
            Self::Signaled { signal } => exit_code::of_signal(signal.number()),
            Self::TimedOut => exit_code::TIMED_OUT,
            Self::NotStarted { errno: ENOENT, .. } => exit_code::NOT_FOUND_IN_GUEST,
            Self::NotStarted { .. } => exit_code::NOT_EXECUTABLE,
        }
    }
}

/// One command's end with times and counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// How it ended.
    pub end: CommandEnd,
    /// Everything it wrote to stdout, beyond any limit too, in bytes.
    pub stdout_bytes: u64,
    /// Everything it wrote to stderr, beyond any limit too, in bytes.
    pub stderr_bytes: u64,
    /// Something still held its outputs open when the guest stopped reading them.
    pub incomplete: bool,
    /// When it was started, by this host's clock.
    pub started_at: Timestamp,
    /// When its end was known here.
    pub ended_at: Timestamp,
}

impl CommandOutcome {
    /// From start to end, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.ended_at.ms_since(self.started_at)
    }
}

#[cfg(test)]
mod tests {
    use super::CommandEnd;
    use microagent_types::SignalName;
    use microagent_wire::guest::service::{NotStarted, SessionExit};

    #[test]
    fn the_guests_end_becomes_the_published_code() {
        let exit = |change: fn(&mut SessionExit)| {
            let mut exit = SessionExit::default();
            change(&mut exit);
            CommandEnd::from_exit(&exit).exit_code()
        };
        assert_eq!(exit(|exit| exit.code = Some(3)), 3);
        assert_eq!(exit(|exit| exit.signal = Some(SignalName::KILL)), 137);
        assert_eq!(
            exit(|exit| (exit.timed_out, exit.signal) = (true, Some(SignalName::TERM))),
            124
        );
        let not_started = |errno| {
            let not_started = Some(NotStarted {
                errno,
                message: "m".into(),
            });
            CommandEnd::from_exit(&SessionExit {
                not_started,
                ..SessionExit::default()
            })
            .exit_code()
        };
        assert_eq!(not_started(2), 127);
        assert_eq!(not_started(13), 126);
        assert_eq!(not_started(8), 126);
    }
}
