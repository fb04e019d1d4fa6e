//! The Windows calls of this crate, each behind a safe function: what the `windows.rs` beside each
//! module builds on.
//!
//! Calls and nothing else: what is decided about their answers is decided by the callers.
#![expect(unsafe_code, reason = "every call of the system is foreign")]

pub(crate) mod boot;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod files;
pub(crate) mod handles;
#[cfg(feature = "tokio")]
pub(crate) mod named;
pub(crate) mod pipes;
pub(crate) mod processes;
pub(crate) mod security;

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt as _;

/// Text as these calls take it: UTF-16 with a zero at its end. A zero inside is an error.
pub(crate) fn wide(text: &OsStr) -> io::Result<Vec<u16>> {
    let mut wide: Vec<u16> = text.encode_wide().collect();
    if wide.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    wide.push(0);
    Ok(wide)
}

/// The answer of a call that tells success by a number other than 0.
fn checked(answer: i32) -> io::Result<()> {
    if answer == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
