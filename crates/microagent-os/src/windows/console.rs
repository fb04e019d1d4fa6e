//! Modes and size of the console, and the keys that interrupt.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle as _};
use std::sync::OnceLock;

use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, GetConsoleMode,
    GetConsoleScreenBufferInfo, SetConsoleCtrlHandler, SetConsoleMode,
};

/// The mode of a console.
pub(crate) fn mode(console: impl AsHandle) -> io::Result<u32> {
    let mut mode = 0;
    // SAFETY: the handle is open for the call, and the pointer leads to a value that outlives it.
    super::checked(unsafe { GetConsoleMode(console.as_handle().as_raw_handle(), &raw mut mode) })?;
    Ok(mode)
}

/// Sets the mode of a console.
pub(crate) fn set_mode(console: impl AsHandle, mode: u32) -> io::Result<()> {
    // SAFETY: the handle is open for the call.
    super::checked(unsafe { SetConsoleMode(console.as_handle().as_raw_handle(), mode) })
}

/// Rows and columns of the window of a console.
pub(crate) fn window(console: impl AsHandle) -> io::Result<(u16, u16)> {
    let mut found = CONSOLE_SCREEN_BUFFER_INFO::default();
    let handle = console.as_handle().as_raw_handle();
    // SAFETY: the handle is open for the call, and the pointer leads to a value that outlives it.
    super::checked(unsafe { GetConsoleScreenBufferInfo(handle, &raw mut found) })?;
    let extent = |from: i16, to: i16| {
        u16::try_from(i32::from(to) - i32::from(from) + 1).map_err(io::Error::other)
    };
    Ok((
        extent(found.srWindow.Top, found.srWindow.Bottom)?,
        extent(found.srWindow.Left, found.srWindow.Right)?,
    ))
}

/// What the console tells a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsoleEvent {
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Break.
    Break,
    /// The window goes away.
    Close,
}

static LISTENER: OnceLock<fn(ConsoleEvent)> = OnceLock::new();

/// Has every event given to a function, on a thread of the system. Once in a process.
pub(crate) fn listen(listener: fn(ConsoleEvent)) -> io::Result<()> {
    LISTENER
        .set(listener)
        .map_err(|_| io::ErrorKind::AlreadyExists)?;
    // SAFETY: the function lives as long as the process and takes what the system gives.
    super::checked(unsafe { SetConsoleCtrlHandler(Some(take), 1) })
}

unsafe extern "system" fn take(kind: u32) -> i32 {
    let event = match kind {
        CTRL_C_EVENT => ConsoleEvent::Interrupt,
        CTRL_BREAK_EVENT => ConsoleEvent::Break,
        CTRL_CLOSE_EVENT => ConsoleEvent::Close,
        _ => return 0,
    };
    if let Some(listener) = LISTENER.get() {
        listener(event);
    }
    1
}
