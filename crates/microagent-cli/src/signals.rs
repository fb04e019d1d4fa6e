//! Signals to this process, for commands that must not just die of them.
//!
//! A thread waits for them and tells the library what came; what it means there (unwind, pass on to
//! the guest's command, end the session) the library knows. Commands that only look are ended by the
//! signal itself and start no thread.

use std::time::Duration;

use microagent_os::process::{Signal, SignalWatch};
use microagent_os::terminal::{self, StandardStream};
use microagent_types::SignalName;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::Interrupt;

use crate::error::Failure;

const WATCHED: [Signal; 5] = [
    Signal::Interrupt,
    Signal::Terminate,
    Signal::HangUp,
    Signal::Quit,
    Signal::WindowChange,
];

/// One wait of the thread; it ends with the process.
const WAIT_LIMIT: Duration = Duration::from_hours(1);

/// Begins to tell `interrupt` of signals. Once in a process.
pub(crate) fn watch(interrupt: &Interrupt) -> Result<(), Failure> {
    let mut watch = SignalWatch::install(&WATCHED).map_err(|error| {
        Fault::new(FaultKind::Internal, "cannot watch for signals").with_cause(error.to_string())
    })?;
    let interrupt = interrupt.clone();
    std::thread::spawn(move || {
        loop {
            match watch.wait(WAIT_LIMIT) {
                Ok(Some(Signal::WindowChange)) => resize(&interrupt),
                Ok(Some(signal)) => {
                    if let Some(name) = in_the_guest(signal) {
                        interrupt.notify(name);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "signals are not seen any more");
                    return;
                }
            }
        }
    });
    Ok(())
}

fn resize(interrupt: &Interrupt) {
    if let Some(size) = terminal::size(StandardStream::Stdin) {
        interrupt.resize(size.rows, size.columns);
    }
}

/// The signal with the number that it has in the guest.
fn in_the_guest(signal: Signal) -> Option<SignalName> {
    /// SIGQUIT, from signal(7).
    const QUIT: u8 = 3;
    match signal {
        Signal::Interrupt => Some(SignalName::INT),
        Signal::Terminate => Some(SignalName::TERM),
        Signal::HangUp => Some(SignalName::HUP),
        Signal::Kill => Some(SignalName::KILL),
        Signal::Quit => SignalName::from_number(QUIT),
        Signal::WindowChange => None,
    }
}

#[cfg(test)]
mod tests {
    use super::in_the_guest;
    use microagent_os::process::Signal;
    use microagent_types::SignalName;

    #[test]
    fn a_signal_keeps_its_meaning_in_the_guest() {
        let name = |signal| in_the_guest(signal).map(SignalName::number);
        assert_eq!(name(Signal::Interrupt), Some(2));
        assert_eq!(name(Signal::Terminate), Some(15));
        assert_eq!(name(Signal::Quit), Some(3));
        assert_eq!(name(Signal::WindowChange), None);
    }
}
