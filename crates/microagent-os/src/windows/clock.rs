//! Counters of the time since the host's boot, in units of 100 ns.

use windows_sys::Win32::System::WindowsProgramming::{
    QueryInterruptTime, QueryUnbiasedInterruptTime,
};

/// Sleep is counted.
pub(crate) fn interrupt_time() -> u64 {
    let mut time = 0;
    // SAFETY: the pointer leads to a value that outlives the call.
    unsafe { QueryInterruptTime(&raw mut time) };
    time
}

/// Sleep is not counted.
pub(crate) fn unbiased_interrupt_time() -> u64 {
    let mut time = 0;
    // SAFETY: as above. It fails only without a pointer.
    unsafe { QueryUnbiasedInterruptTime(&raw mut time) };
    time
}
