//! Named pipes whose reads and writes have a limit.
//!
//! A handle that is not overlapped does one thing at a time: a read that waits holds up every write.
//! So these are overlapped, and each read or write waits for an event of its own.

use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle,
};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_BUSY, ERROR_PIPE_CONNECTED,
    ERROR_PIPE_NOT_CONNECTED, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING,
    PIPE_ACCESS_DUPLEX, ReadFile, SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeClientProcessId,
    PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, PeekNamedPipe,
};

use super::handles;
use super::security::Private;

/// Bytes that the system keeps for each direction.
const BUFFER_BYTES: u32 = 64 * 1024;

/// Whether others may have the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instance {
    /// A taken name is an error.
    First,
    /// One more of ours.
    Further,
}

/// Whether calls on a handle may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// They may.
    Yes,
    /// One after the other, as the standard library does them.
    No,
}

/// Makes the server's end of a pipe: bytes both ways, closed to other users and other machines.
pub(crate) fn create(name: &std::path::Path, instance: Instance) -> io::Result<OwnedHandle> {
    let wide = super::wide(name.as_os_str())?;
    let private = Private::new()?;
    let attributes = private.attributes();
    let first = match instance {
        Instance::First => FILE_FLAG_FIRST_PIPE_INSTANCE,
        Instance::Further => 0,
    };
    // SAFETY: the text ends with a zero, and the attributes outlive the call.
    let pipe = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
            PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            BUFFER_BYTES,
            BUFFER_BYTES,
            0,
            &raw const attributes,
        )
    };
    owned(pipe)
}

/// Opens the client's end. `None` when every server's end is taken.
pub(crate) fn open(name: &std::path::Path, overlap: Overlap) -> io::Result<Option<OwnedHandle>> {
    let wide = super::wide(name.as_os_str())?;
    let overlapped = match overlap {
        Overlap::Yes => FILE_FLAG_OVERLAPPED,
        Overlap::No => 0,
    };
    // A server learns who we are and may not act as us.
    let flags = overlapped | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    // SAFETY: the text ends with a zero, and no attributes are given.
    let pipe = unsafe {
        CreateFileW(
            wide.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            0,
            std::ptr::null(),
            OPEN_EXISTING,
            flags,
            std::ptr::null_mut(),
        )
    };
    match owned(pipe) {
        Ok(pipe) => Ok(Some(pipe)),
        Err(error) if is(&error, ERROR_PIPE_BUSY) => Ok(None),
        Err(error) => Err(error),
    }
}

fn owned(pipe: windows_sys::Win32::Foundation::HANDLE) -> io::Result<OwnedHandle> {
    if pipe == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made just now and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(pipe) })
}

/// Waits until a client has opened the other end.
pub(crate) fn await_client(pipe: BorrowedHandle<'_>) -> io::Result<()> {
    let connected = overlapped(pipe, None, |pipe, operation| {
        // SAFETY: the operation outlives the call and its completion, which is waited for.
        unsafe { ConnectNamedPipe(pipe, operation) }
    });
    match connected {
        Err(error) if is(&error, ERROR_PIPE_CONNECTED) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Reads what there is, waiting for the first byte; 0 when the other end is closed. A wait beyond the
/// limit is an error of kind `WouldBlock`.
pub(crate) fn read(
    pipe: BorrowedHandle<'_>,
    buffer: &mut [u8],
    limit: Option<Duration>,
) -> io::Result<usize> {
    let (start, length) = (buffer.as_mut_ptr(), length_of(buffer));
    let read = overlapped(pipe, limit, |pipe, operation| {
        // SAFETY: buffer and operation outlive the call and its completion, which is waited for.
        unsafe { ReadFile(pipe, start, length, std::ptr::null_mut(), operation) }
    });
    match read {
        Err(error)
            if is(&error, ERROR_BROKEN_PIPE)
                || is(&error, ERROR_PIPE_NOT_CONNECTED)
                || is(&error, ERROR_NO_DATA) =>
        {
            Ok(0)
        }
        other => other,
    }
}

/// Writes, waiting for room. A wait beyond the limit is an error of kind `WouldBlock`.
pub(crate) fn write(
    pipe: BorrowedHandle<'_>,
    bytes: &[u8],
    limit: Option<Duration>,
) -> io::Result<usize> {
    let written = overlapped(pipe, limit, |pipe, operation| {
        // SAFETY: bytes and operation outlive the call and its completion, which is waited for.
        unsafe {
            WriteFile(
                pipe,
                bytes.as_ptr(),
                length_of(bytes),
                std::ptr::null_mut(),
                operation,
            )
        }
    });
    match written {
        Err(error) if is(&error, ERROR_NO_DATA) => Err(io::ErrorKind::BrokenPipe.into()),
        other => other,
    }
}

/// Whether there is something to read, or the other end is closed.
pub(crate) fn is_readable(pipe: BorrowedHandle<'_>) -> bool {
    let mut waiting = 0;
    let none = std::ptr::null_mut();
    // SAFETY: the handle is open for the call, and the pointer leads to a value that outlives it.
    let answer = unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            none,
            0,
            std::ptr::null_mut(),
            &raw mut waiting,
            std::ptr::null_mut(),
        )
    };
    answer == 0 || waiting > 0
}

/// The process at the client's end.
pub(crate) fn client(pipe: BorrowedHandle<'_>) -> io::Result<u32> {
    let mut id = 0;
    // SAFETY: the handle is open for the call, and the pointer leads to a value that outlives it.
    super::checked(unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut id) })?;
    Ok(id)
}

/// Ends a connection at the server's end, and what waits at either.
pub(crate) fn end(pipe: BorrowedHandle<'_>) {
    // SAFETY: the handle is open for the call; all operations of it are ended.
    unsafe { CancelIoEx(pipe.as_raw_handle(), std::ptr::null()) };
    // SAFETY: the handle is open for the call; at a client's end it is an error that means nothing.
    unsafe { DisconnectNamedPipe(pipe.as_raw_handle()) };
}

fn overlapped(
    pipe: BorrowedHandle<'_>,
    limit: Option<Duration>,
    begin: impl FnOnce(windows_sys::Win32::Foundation::HANDLE, *mut OVERLAPPED) -> i32,
) -> io::Result<usize> {
    let event = handles::event()?;
    let mut operation = OVERLAPPED {
        hEvent: event.as_raw_handle(),
        ..OVERLAPPED::default()
    };
    let raw = pipe.as_raw_handle();
    if begin(raw, &raw mut operation) == 0 {
        let error = io::Error::last_os_error();
        if !is(&error, ERROR_IO_PENDING) {
            return Err(error);
        }
    }
    let done = handles::wait_any(&[event.as_handle()], limit)?.is_some();
    if !done {
        // SAFETY: the handle is open for the call, and the operation is one of it.
        unsafe { CancelIoEx(raw, &raw const operation) };
    }
    let mut transferred = 0;
    // SAFETY: waits until the system no longer uses the operation, done or ended.
    let answer = unsafe { GetOverlappedResult(raw, &raw const operation, &raw mut transferred, 1) };
    if answer == 0 {
        let error = io::Error::last_os_error();
        return Err(if done {
            error
        } else {
            io::ErrorKind::WouldBlock.into()
        });
    }
    Ok(transferred as usize)
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
