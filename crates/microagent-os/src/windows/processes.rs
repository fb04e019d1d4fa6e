//! Processes by id: opening them, when they started, ending them.

use std::io;
use std::os::windows::io::{AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, FILETIME};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess,
};

/// Opens a process; `None` when there is none with that id.
pub(crate) fn open(id: u32) -> io::Result<Option<OwnedHandle>> {
    let rights = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE | PROCESS_TERMINATE;
    // SAFETY: takes numbers.
    let process = unsafe { OpenProcess(rights, 0, id) };
    if process.is_null() {
        let error = io::Error::last_os_error();
        let absent = ERROR_INVALID_PARAMETER.cast_signed();
        return if error.raw_os_error() == Some(absent) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    // SAFETY: the handle was made just now and has no other owner.
    Ok(Some(unsafe { OwnedHandle::from_raw_handle(process) }))
}

/// When a process was made, in units of 100 ns since 1601.
pub(crate) fn creation_time(process: BorrowedHandle<'_>) -> io::Result<u64> {
    creation_time_of(process.as_raw_handle())
}

/// When this process was made.
pub(crate) fn own_creation_time() -> io::Result<u64> {
    // SAFETY: the call has no arguments; what it gives needs no closing.
    creation_time_of(unsafe { GetCurrentProcess() })
}

fn creation_time_of(process: windows_sys::Win32::Foundation::HANDLE) -> io::Result<u64> {
    let mut times = [FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: the handle is open for the call, and the pointers lead to values that outlive it.
    super::checked(unsafe { GetProcessTimes(process, created, ended, kernel, user) })?;
    Ok((u64::from(times[0].dwHighDateTime) << 32) | u64::from(times[0].dwLowDateTime))
}

/// Ends a process at once.
pub(crate) fn terminate(process: BorrowedHandle<'_>, code: u32) -> io::Result<()> {
    // SAFETY: the handle is open for the call.
    super::checked(unsafe { TerminateProcess(process.as_raw_handle(), code) })
}
