//! What this process's heap keeps, with the C library of GNU. Its sibling has the same names.
#![expect(unsafe_code, reason = "calls of the C library that have no safe form")]

/// All threads allocate from one heap, where each would have one of its own.
pub(super) fn share() {
    // SAFETY: takes numbers, touches nothing of ours; a refusal changes nothing.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Whole pages that hold nothing go back to the system.
pub(super) fn trim() {
    // SAFETY: takes a number; what is allocated stays where it is.
    let _ = unsafe { libc::malloc_trim(0) };
}
