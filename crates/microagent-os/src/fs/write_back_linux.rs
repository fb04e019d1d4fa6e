//! Write-back before anybody waits for it. One call; its sibling has the same name.
#![expect(unsafe_code, reason = "a system call that has no safe form")]

use std::fs::File;
use std::os::fd::AsRawFd;

pub(super) fn begin(file: &File, position: u64, length_bytes: u64) {
    let (Ok(position), Ok(length)) = (i64::try_from(position), i64::try_from(length_bytes)) else {
        return;
    };
    // SAFETY: takes numbers, touches no memory; the descriptor is open as long as `file` is borrowed.
    let _ = unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            position,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
}
