//! Handles: waiting for them, giving them to children, events of our own.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle as _, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_FAILED, WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForMultipleObjects,
};

/// Waits for the first of some handles, at most 64. `None` when the time ran out.
pub(crate) fn wait_any(
    handles: &[BorrowedHandle<'_>],
    limit: Option<Duration>,
) -> io::Result<Option<usize>> {
    let raw: Vec<_> = handles.iter().map(AsRawHandle::as_raw_handle).collect();
    let count = u32::try_from(raw.len()).map_err(io::Error::other)?;
    let limit_ms = limit.map_or(INFINITE, |limit| {
        u32::try_from(limit.as_millis()).unwrap_or(INFINITE - 1)
    });
    // SAFETY: the handles are open for the call, and the array is as long as is said.
    let answer = unsafe { WaitForMultipleObjects(count, raw.as_ptr(), 0, limit_ms) };
    if answer == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    let index = answer.wrapping_sub(WAIT_OBJECT_0);
    Ok((index < count).then_some(index as usize))
}

/// An event that stays set until it is reset.
pub(crate) fn event() -> io::Result<OwnedHandle> {
    // SAFETY: no name and no attributes are given.
    let event = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made just now and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}

/// Sets an event.
pub(crate) fn set(event: BorrowedHandle<'_>) -> io::Result<()> {
    // SAFETY: the handle is open for the call.
    super::checked(unsafe { SetEvent(event.as_raw_handle()) })
}

/// Resets an event.
pub(crate) fn reset(event: BorrowedHandle<'_>) -> io::Result<()> {
    // SAFETY: the handle is open for the call.
    super::checked(unsafe { ResetEvent(event.as_raw_handle()) })
}

/// Whether children that are made from now on get a handle.
pub(crate) fn set_inherited(handle: BorrowedHandle<'_>, inherited: bool) -> io::Result<()> {
    let flags = if inherited { HANDLE_FLAG_INHERIT } else { 0 };
    // SAFETY: the handle is open for the call.
    super::checked(unsafe {
        SetHandleInformation(handle.as_raw_handle(), HANDLE_FLAG_INHERIT, flags)
    })
}

/// Takes over a handle that this process was started with.
///
/// The number must be one that the parent passed for that purpose, and must be taken over once.
pub(crate) fn adopt(number: usize) -> io::Result<OwnedHandle> {
    let raw = std::ptr::with_exposed_provenance_mut(number);
    // SAFETY: the call only asks about a number; one that is not open is an error.
    super::checked(unsafe { SetHandleInformation(raw, HANDLE_FLAG_INHERIT, 0) })?;
    // SAFETY: the handle is open, and by the caller's word nobody else owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// Whether a handle is that of a pipe.
pub(crate) fn is_pipe(handle: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open for the call.
    unsafe { GetFileType(handle.as_raw_handle()) == FILE_TYPE_PIPE }
}

/// The number of a handle, which is the same in a child that gets it.
pub(crate) fn number(handle: BorrowedHandle<'_>) -> usize {
    handle.as_raw_handle().expose_provenance()
}
