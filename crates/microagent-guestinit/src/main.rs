//! `/init` of every guest. It must not do anything but start: all of it is in the library.
//!
//! The C library calls it directly. What Rust's own start would do first, PID 1 does not need: a
//! handler that words a stack overflow, which ends in the kernel's panic all the same, and a look at
//! the standard descriptors, which the kernel has opened. It costs a few milliseconds of every
//! emulated boot.
#![no_main]
#![expect(unsafe_code, reason = "the C library finds its entry by name")]

use std::ffi::{c_char, c_int};

/// musl's own allocator asks the kernel for memory piece by piece and gives it back between two steps
/// of the boot, which an emulated processor takes longer over than over the steps.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// The entry.
// SAFETY: no other symbol of the program is called `main`, and this is the signature that the C
// library calls it with.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    microagent_guestinit::pid_one::main()
}
