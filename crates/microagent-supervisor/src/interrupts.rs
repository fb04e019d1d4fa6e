//! Waits of a supervisor that a signal may end: the act goes on, only the wait is over.

use microagent_os::clock::Deadline;
use microagent_os::process::{
    Descriptor, Signal, SignalWatch, signal_me_when_parent_ends, wait_readable,
};
use std::io;
use std::time::Duration;

/// The signals that end a wait, taken as values.
#[derive(Debug)]
pub(crate) struct Interrupts {
    watch: SignalWatch,
    came: Option<Signal>,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There is something to read.
    Readable,
    /// The time ran out.
    TimedOut,
    /// A signal came.
    Interrupted(Signal),
}

impl Interrupts {
    /// Begins to take SIGINT, SIGTERM and SIGHUP as values. Once in a process.
    pub(crate) fn install() -> io::Result<Self> {
        let signals = [Signal::Interrupt, Signal::Terminate, Signal::HangUp];
        Ok(Self {
            watch: SignalWatch::install(&signals)?,
            came: None,
        })
    }

    /// Waits until there is something to read, the deadline, or a signal. A signal that came once
    /// ends every later wait too.
    pub(crate) fn wait(
        &mut self,
        descriptor: Descriptor<'_>,
        deadline: Deadline,
    ) -> io::Result<Woken> {
        loop {
            if let Some(signal) = self.came {
                return Ok(Woken::Interrupted(signal));
            }
            let left = deadline.remaining();
            let ready = wait_readable(&[descriptor, self.watch.descriptor()], Some(left))?;
            if ready[0] {
                return Ok(Woken::Readable);
            }
            if ready[1] {
                self.came = self.watch.take()?;
            } else if left.is_zero() {
                return Ok(Woken::TimedOut);
            }
        }
    }

    /// As [`Interrupts::wait`] without regard to signals: what comes now must be heard.
    pub(crate) fn wait_regardless(
        descriptor: Descriptor<'_>,
        limit: Duration,
    ) -> io::Result<Woken> {
        let ready = wait_readable(&[descriptor], Some(limit))?;
        Ok(if ready[0] {
            Woken::Readable
        } else {
            Woken::TimedOut
        })
    }

    /// From now on the end of whoever started this process counts as SIGTERM: a client that dies must
    /// not leave a boot that nobody waits for. One that has ended already counts at once.
    pub(crate) fn end_with_parent(&mut self) {
        if signal_me_when_parent_ends(Signal::Terminate).is_err() {
            self.came.get_or_insert(Signal::Terminate);
        }
    }

    /// The signal that came, if one has.
    pub(crate) fn came(&mut self) -> Option<Signal> {
        if self.came.is_none() {
            // What can't be asked did not come.
            self.came = self.watch.take().unwrap_or(None);
        }
        self.came
    }
}
