//! The only way to a signal.
//!
//! Between reading a pid from a record and signalling it, the process may have ended and the pid
//! may be somebody else's. A handle pins the process first (a pidfd on Linux), then proves that it
//! is the recorded one, and everything after that goes through the pin.

use std::io;
use std::time::Duration;

use super::platform;
use super::{ProcessIdentity, wait_readable};

/// A signal that we send or wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGHUP.
    HangUp,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    Terminate,
    /// SIGKILL; can't be waited for.
    Kill,
    /// SIGWINCH: the terminal's size has changed.
    WindowChange,
}

/// What came of looking for a recorded process.
#[derive(Debug)]
pub enum Found {
    /// It lives, and it is the recorded one.
    Alive(ProcessHandle),
    /// It has ended, is a zombie, or the pid belongs to another process.
    Gone,
    /// It can't be told. It must be neither signalled nor taken for gone.
    Unknown(io::Error),
}

/// What came of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The kernel took it.
    Sent,
    /// The process had ended.
    AlreadyGone,
}

/// A process that was proved to be the one that its identity names.
#[derive(Debug)]
pub struct ProcessHandle {
    pin: platform::Pin,
    identity: ProcessIdentity,
}

impl ProcessHandle {
    /// Looks for a recorded process.
    pub fn open(identity: &ProcessIdentity) -> Found {
        match platform::find(identity) {
            Ok(Some(pin)) => Found::Alive(Self {
                pin,
                identity: identity.clone(),
            }),
            Ok(None) => Found::Gone,
            Err(error) => Found::Unknown(error),
        }
    }

    /// The handle of a child that was not waited for yet.
    pub(super) fn of_child(child: &std::process::Child) -> io::Result<Self> {
        let (pin, identity) = platform::pin_child(child)?;
        Ok(Self { pin, identity })
    }

    /// A second handle of the same process, for a task that waits while others signal.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            pin: self.pin.try_clone()?,
            identity: self.identity.clone(),
        })
    }

    /// Who it is; the pid is the one that the host's `/proc` shows.
    pub fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// Sends a signal. To a process that has ended it is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<Delivery> {
        platform::signal(&self.pin, signal)
    }

    /// True once it has ended, also as a zombie.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.wait_end(Duration::ZERO)
    }

    /// Waits for the end. False when the time ran out.
    pub fn wait_end(&self, limit: Duration) -> io::Result<bool> {
        Ok(wait_readable(&[self.descriptor()], Some(limit))?[0])
    }

    /// A descriptor that becomes readable when the process ends.
    pub fn descriptor(&self) -> platform::Descriptor<'_> {
        platform::descriptor(&self.pin)
    }

    /// Waits for the end inside a tokio loop.
    #[cfg(feature = "tokio")]
    pub async fn ended(&self) -> io::Result<()> {
        platform::readable(self.descriptor()).await
    }
}
