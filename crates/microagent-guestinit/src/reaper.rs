//! Collecting the dead without taking a status from its owner.
//!
//! PID 1 is the parent of every orphan and of the processes it started itself. A plain `wait` would
//! give it the status of either; so it looks first (`WNOWAIT`), and a child that is tracked is
//! collected into its [`Child`], where the owner finds it. A process becomes tracked under the same
//! lock under which it is forked, so no look falls between the two.

use crate::workload::{Child, Command, Look, StartError, StartStep, next_dead_child, start};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The processes that guest init answers for.
#[derive(Debug, Default)]
pub struct Reaper {
    tracked: Mutex<Vec<Arc<Child>>>,
}

/// What a pass over the dead left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remaining {
    /// Some children live.
    Children,
    /// There is no child at all.
    Nobody,
}

impl Reaper {
    /// Nothing is tracked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a command and waits until its program runs.
    ///
    /// # Errors
    /// With the step that failed and what the kernel said; nothing is left running then.
    pub fn start(&self, command: &Command) -> Result<Arc<Child>, StartError> {
        let fork_failed = |error: io::Error| StartError::at(StartStep::Fork, &error);
        let (child, begun) = {
            let mut tracked = self.lock();
            tracked.retain(|child| !child.is_collected());
            let begun = start(command).map_err(fork_failed)?;
            let child = Arc::new(Child::new(begun.pid).map_err(fork_failed)?);
            tracked.push(Arc::clone(&child));
            (child, begun)
        };
        match begun.outcome() {
            Ok(()) => Ok(child),
            Err(error) => {
                await_end(&child);
                Err(error)
            }
        }
    }

    /// Collects every dead child of PID 1. Never to be called in another process: it would take the
    /// children of others.
    pub fn collect_dead(&self) -> Remaining {
        loop {
            match next_dead_child() {
                Look::None => return Remaining::Nobody,
                Look::AllLive => return Remaining::Children,
                Look::Dead(pid) => {
                    let tracked = self.lock();
                    match tracked
                        .iter()
                        .find(|child| child.raw_pid() == pid && !child.is_collected())
                    {
                        Some(child) => {
                            child.collect();
                        }
                        None => {
                            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                            let _ = waitid(WaitId::Pid(pid), options);
                        }
                    }
                }
            }
        }
    }

    /// Everything that was started and has not been collected.
    pub fn living(&self) -> Vec<Arc<Child>> {
        self.lock()
            .iter()
            .filter(|child| !child.is_collected())
            .cloned()
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Child>>> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a process that is already ending: its exec failed.
fn await_end(child: &Child) {
    use rustix::event::{PollFd, PollFlags, poll};
    while child.collect().is_none() {
        let _ = poll(
            &mut [PollFd::from_borrowed_fd(child.exit_fd(), PollFlags::IN)],
            None,
        );
    }
}
