//! What every session of this guest needs to know, and what may be done on its behalf.

use crate::reaper::Reaper;
use microagent_types::{Environment, GuestPath, MediationPort};
use microagent_wire::limits::{GUEST_SESSIONS_MAX, STDIN_BUFFER_BYTES_MAX};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether the processes of this guest may become other users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// As in a guest: guest init is root.
    Root,
    /// As in a test: everything runs as whoever runs it, and another user is refused.
    Unchanged,
}

/// Whether the wall clock may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockAccess {
    /// As in a guest.
    Set,
    /// As in a test, where the clock is somebody else's.
    Refused,
}

/// The defaults and bounds of the boot spec, and the processes.
#[derive(Debug)]
pub struct Context {
    /// Environment of every session.
    pub env: Environment,
    /// User of a session that names none; root when absent.
    pub user: Option<String>,
    /// Folder of a session that names none; `/` when absent.
    pub workdir: Option<GuestPath>,
    /// The guest's name.
    pub hostname: String,
    /// What processes see as the mediation port.
    pub mediation_port: Option<MediationPort>,
    /// Most open sessions.
    pub sessions_max: u32,
    /// Bytes of stdin that wait for a process that does not read.
    pub stdin_bytes_max: u64,
    /// Who processes may be.
    pub privilege: Privilege,
    /// What the clock service may do.
    pub clock: ClockAccess,
    /// Every process that was started.
    pub reaper: Reaper,
    /// Sessions that are open, connections to the guest's own ports not counted.
    pub sessions: SessionCount,
    /// Connections to the guest's own ports: a crowd at a published port must leave room to look at it.
    pub forwards: SessionCount,
    /// Connections of the host, whatever they want or will want.
    pub connections: SessionCount,
    /// Sessions that hold files open.
    pub file_work: FileWork,
    /// A boot for its disks alone: no processes, no ports.
    pub maintenance: bool,
}

impl Context {
    /// For a test in an ordinary process: no defaults, no privilege.
    pub fn unprivileged(hostname: &str) -> Self {
        Self {
            env: Environment::new(),
            user: None,
            workdir: None,
            hostname: hostname.to_owned(),
            mediation_port: None,
            sessions_max: GUEST_SESSIONS_MAX,
            stdin_bytes_max: STDIN_BUFFER_BYTES_MAX,
            privilege: Privilege::Unchanged,
            clock: ClockAccess::Refused,
            reaper: Reaper::new(),
            sessions: SessionCount::default(),
            forwards: SessionCount::default(),
            connections: SessionCount::default(),
            file_work: FileWork::default(),
            maintenance: false,
        }
    }
}

impl Context {
    /// From here on nothing new is admitted.
    pub fn close(&self) {
        self.sessions.close();
        self.forwards.close();
    }
}

/// How many sessions hold files open: a disk with an open file can't be unmounted.
#[derive(Debug, Default)]
pub struct FileWork {
    open: Mutex<u32>,
    done: Condvar,
}

/// Files that a session holds open, until it is dropped.
#[derive(Debug)]
pub struct OpenFiles<'a>(&'a FileWork);

impl FileWork {
    /// Counts one more.
    pub fn begin(&self) -> OpenFiles<'_> {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        OpenFiles(self)
    }

    /// Waits until none is left. False when the time is up.
    pub fn wait(&self, limit: Duration) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.done.wait_timeout_while(open, limit, |open| *open > 0);
        let (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *open == 0
    }
}

impl Drop for OpenFiles<'_> {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.done.notify_all();
    }
}

/// How many sessions are open, and whether new ones may come.
#[derive(Debug, Default)]
pub struct SessionCount {
    open: AtomicU32,
    is_closing: AtomicBool,
}

/// One open session; counted until it is dropped.
#[derive(Debug)]
pub struct OpenSession<'a>(&'a SessionCount);

/// Why a session may not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// As many as may be are open.
    Full,
    /// The guest is ending.
    Ending,
}

impl SessionCount {
    /// How many are open.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// From here on no session is admitted.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Whether the guest is ending.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Counts one more.
    ///
    /// # Errors
    /// When there are `max`, or the guest is ending.
    pub fn admit(&self, max: u32) -> Result<OpenSession<'_>, NotAdmitted> {
        if self.is_closing.load(Ordering::Relaxed) {
            return Err(NotAdmitted::Ending);
        }
        let admitted = OpenSession(self);
        if self.open.fetch_add(1, Ordering::Relaxed) >= max {
            return Err(NotAdmitted::Full);
        }
        Ok(admitted)
    }
}

impl Drop for OpenSession<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{NotAdmitted, SessionCount};

    #[test]
    fn the_last_place_is_given_once_and_comes_back() {
        let count = SessionCount::default();
        let first = count.admit(2).unwrap();
        let second = count.admit(2).unwrap();
        assert_eq!(count.admit(2).unwrap_err(), NotAdmitted::Full);
        assert_eq!(count.open(), 2);
        drop(first);
        assert!(count.admit(2).is_ok());
        drop(second);
        assert_eq!(count.open(), 0);
        count.close();
        assert_eq!(count.admit(2).unwrap_err(), NotAdmitted::Ending);
    }
}
