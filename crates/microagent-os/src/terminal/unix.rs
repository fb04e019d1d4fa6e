//! Terminal settings through termios.

use std::io;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::{StandardStream, TerminalSize};

/// The terminal's settings.
pub(super) type Settings = Termios;

pub(super) fn size(stream: StandardStream) -> Option<TerminalSize> {
    let size = match stream {
        StandardStream::Stdin => tcgetwinsize(io::stdin()),
        StandardStream::Stdout => tcgetwinsize(io::stdout()),
        StandardStream::Stderr => tcgetwinsize(io::stderr()),
    };
    size.ok().map(|size| TerminalSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

pub(super) fn settings() -> io::Result<Settings> {
    Ok(tcgetattr(io::stdin())?)
}

pub(super) fn make_raw(before: &Settings) -> io::Result<()> {
    let mut raw = before.clone();
    raw.make_raw();
    Ok(tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?)
}

pub(super) fn restore(before: &Settings) -> io::Result<()> {
    // Keys that were typed for the session are not for the shell.
    Ok(tcsetattr(io::stdin(), OptionalActions::Flush, before)?)
}
