//! Which child has ended, without taking its status.
//!
//! The one question that rustix cannot ask: its `waitid` does not give the child's number.
#![expect(unsafe_code, reason = "waitid with the child's number")]

use rustix::process::Pid;
use std::io;
use std::mem::MaybeUninit;

/// What a look at all children found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// This one has ended and waits to be collected.
    Dead(Pid),
    /// There are children and all of them live.
    AllLive,
    /// There are no children.
    None,
}

/// Looks at all children of this process and changes nothing (`WNOWAIT`).
pub(crate) fn next_dead_child() -> Look {
    let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to memory of the right type.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, found.as_mut_ptr(), options) };
    if result != 0 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::ECHILD) => Look::None,
            _ => Look::AllLive,
        };
    }
    // SAFETY: zeroed before and filled by the call; all zeros is a valid value.
    let found = unsafe { found.assume_init() };
    // SAFETY: the field is valid for `SIGCHLD` and zero when nothing was found.
    let pid = unsafe { found.si_pid() };
    Pid::from_raw(pid).map_or(Look::AllLive, Look::Dead)
}
