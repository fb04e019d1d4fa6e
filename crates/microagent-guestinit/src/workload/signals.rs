//! Signals to PID 1, and to a group by any number.
//!
//! PID 1 blocks every signal before its first thread is made and takes them one by one where it
//! waits for them, so no handler ever runs.
#![expect(
    unsafe_code,
    reason = "signal masks, and signals beyond the named ones"
)]

use microagent_types::SignalName;
use rustix::process::Pid;
use std::mem::MaybeUninit;

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to memory of the right type, which the call initialises.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: `sigfillset` has initialised it.
    unsafe { set.assume_init() }
}

/// Blocks every signal in this thread and in those that it makes. To be called before there are any.
pub fn block_all() {
    let set = full_set();
    // SAFETY: the set is initialised; the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// Waits for the next signal.
pub fn next_signal() -> Option<SignalName> {
    let set = full_set();
    let mut number = 0;
    // SAFETY: both pointers are to initialised memory that outlives the call.
    let result = unsafe { libc::sigwait(&raw const set, &raw mut number) };
    if result != 0 {
        return None;
    }
    u8::try_from(number).ok().and_then(SignalName::from_number)
}

/// Sends any signal, real-time ones included, to a group. A group that is gone is no error.
pub(super) fn signal_group(group: Pid, signal: SignalName) {
    let number = i32::from(signal.number());
    // SAFETY: the call touches no memory.
    unsafe { libc::kill(-group.as_raw_nonzero().get(), number) };
}

/// Sends a signal to every process but PID 1 and the caller.
pub(crate) fn signal_everybody(signal: SignalName) {
    let number = i32::from(signal.number());
    // SAFETY: the call touches no memory.
    unsafe { libc::kill(-1, number) };
}
