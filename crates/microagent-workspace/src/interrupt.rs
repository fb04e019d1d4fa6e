//! One place where a signal that a person sends meets whatever is under way.
//!
//! ```text
//! preparing      the flag is set; the work looks at it and unwinds
//! waiting        the flag is set and the supervisor that is waited for gets SIGINT
//! in a session   the signal goes to the guest's command; a second Ctrl-C within 2 s ends the session.
//!                With a terminal, SIGTERM and SIGHUP end the session and this process.
//! ```
//!
//! The phases change under one lock, so a signal between two of them is never lost.

use microagent_os::clock;
use microagent_os::process::{Found, ProcessHandle, ProcessIdentity, Signal};
use microagent_types::SignalName;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::guest_session::SessionControl;

/// How soon a second Ctrl-C must follow the first to end a session.
const SECOND_WITHIN: Duration = Duration::from_secs(2);

/// What ends a session with a terminal, as it would end the program that has the terminal.
const ENDS_TERMINAL: [SignalName; 2] = [SignalName::TERM, SignalName::HUP];

/// Shared by the thread that works and the one that hears signals. Clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    state: Arc<Mutex<State>>,
    flag: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    signal: Option<SignalName>,
    target: Target,
    last_interrupt: Option<Instant>,
}

#[derive(Debug, Default)]
enum Target {
    #[default]
    Work,
    Supervisor(ProcessIdentity),
    Session(SessionControl),
}

impl Interrupt {
    /// A token that nothing has been asked of.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells what is under way that a signal has come.
    pub fn notify(&self, signal: SignalName) {
        let mut state = self.state();
        match &state.target {
            Target::Session(_) => {
                if !state.tell_session(signal) {
                    return;
                }
            }
            Target::Supervisor(identity) => pass_on(identity),
            Target::Work => {}
        }
        state.signal = Some(signal);
        self.flag.store(true, Ordering::SeqCst);
    }

    /// The signal that asks the work to end, when one has come outside a session.
    pub fn requested(&self) -> Option<SignalName> {
        self.state().signal
    }

    /// The same, waiting a moment for a signal that is on its way.
    #[expect(
        clippy::disallowed_methods,
        reason = "a pause between looks, only after a supervisor has died"
    )]
    pub(crate) fn requested_within(&self, limit: Duration) -> Option<SignalName> {
        /// Between two looks; nobody waits here but after a crash.
        const PAUSE: Duration = Duration::from_millis(5);
        let deadline = clock::Deadline::after(limit);
        loop {
            let requested = self.requested();
            if requested.is_some() || deadline.remaining().is_zero() {
                return requested;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A new size of the caller's terminal; means nothing outside a session.
    pub fn resize(&self, rows: u16, cols: u16) {
        if let Target::Session(control) = &self.state().target {
            control.resize(rows, cols);
        }
    }

    /// Turns true with [`Interrupt::requested`]; for work that looks often.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Ends the session that runs, whatever the guest does; means nothing outside one.
    pub fn close_session(&self) {
        if let Target::Session(control) = &self.state().target {
            control.close();
        }
    }

    pub(crate) fn supervisor_runs(&self, identity: &ProcessIdentity) {
        let mut state = self.state();
        state.target = Target::Supervisor(identity.clone());
        if state.signal.is_some() {
            pass_on(identity);
        }
    }

    /// From here on signals are the command's; so is one that came while the session was being opened.
    pub(crate) fn session_runs(&self, control: SessionControl) {
        let mut state = self.state();
        state.target = Target::Session(control);
        if let Some(signal) = state.signal.take() {
            let ended = state.tell_session(signal);
            state.signal = ended.then_some(signal);
            self.flag.store(ended, Ordering::SeqCst);
        }
    }

    pub(crate) fn work_goes_on(&self) {
        self.state().target = Target::Work;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is one assignment, so a panic elsewhere leaves it sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// True when the signal is for this process as well: the session has a terminal, and ends.
    fn tell_session(&mut self, signal: SignalName) -> bool {
        let Target::Session(control) = &self.target else {
            return false;
        };
        let ends = control.carries_no_command() || ENDS_TERMINAL.contains(&signal);
        if control.is_terminal() && ends {
            control.close();
            return true;
        }
        let now = clock::monotonic();
        let second = signal == SignalName::INT
            && self
                .last_interrupt
                .is_some_and(|last| now.duration_since(last) < SECOND_WITHIN);
        if second {
            control.close();
        } else {
            control.signal(signal);
        }
        if signal == SignalName::INT {
            self.last_interrupt = Some(now);
        }
        false
    }
}

fn pass_on(identity: &ProcessIdentity) {
    if let Found::Alive(process) = ProcessHandle::open(identity) {
        // One that has just ended needs no signal.
        let _ = process.signal(Signal::Interrupt);
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupt;
    use microagent_types::SignalName;

    #[test]
    fn a_signal_before_a_session_is_kept_for_the_work() {
        let interrupt = Interrupt::new();
        assert_eq!(interrupt.requested(), None);
        interrupt.clone().notify(SignalName::TERM);
        assert_eq!(interrupt.requested(), Some(SignalName::TERM));
    }
}
