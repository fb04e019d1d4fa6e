//! A process that guest init started and answers for.
//!
//! Its status is collected under a lock that a signal takes too, so a signal never goes to a number
//! that has been given to somebody else.

use microagent_types::SignalName;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It returned this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(SignalName),
}

/// A started process, the leader of its own session and group.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    exit: OwnedFd,
    ended: Mutex<Option<Ended>>,
}

impl Child {
    /// Takes responsibility for a process that can't have been collected yet.
    pub(crate) fn new(pid: Pid) -> io::Result<Self> {
        let exit = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self {
            pid,
            exit,
            ended: Mutex::new(None),
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn raw_pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process ends.
    pub fn exit_fd(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// How it ended; `None` while it lives. Whoever asks first collects the status.
    pub fn collect(&self) -> Option<Ended> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            *ended = match waitid(WaitId::Pid(self.pid), options) {
                Ok(status) => status.map(|status| decode(&status)),
                // Nobody else collects: the process is not a child any more only by a bug.
                Err(_) => Some(Ended::Signaled(SignalName::KILL)),
            };
        }
        *ended
    }

    /// Whether its status has been collected.
    pub(crate) fn is_collected(&self) -> bool {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Sends a signal to its group. The group may outlive its leader and is still meant then; a group
    /// that is gone is no error.
    pub fn signal_group(&self, signal: SignalName) {
        let _ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        super::signals::signal_group(self.pid, signal);
    }

    /// Whether its group still has a process, the uncollected leader included.
    pub fn group_lives(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid) != Err(rustix::io::Errno::SRCH)
    }
}

fn decode(status: &rustix::process::WaitIdStatus) -> Ended {
    if let Some(code) = status.exit_status() {
        return Ended::Exited(code);
    }
    let number = status
        .terminating_signal()
        .and_then(|signal| u8::try_from(signal).ok());
    Ended::Signaled(
        number
            .and_then(SignalName::from_number)
            .unwrap_or(SignalName::KILL),
    )
}
