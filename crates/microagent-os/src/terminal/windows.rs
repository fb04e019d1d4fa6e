//! Terminal settings through the console's modes.

use std::io;

use super::{StandardStream, TerminalSize};
use crate::windows::console;

/// Echo, whole lines and Ctrl-C as an interrupt, which raw mode switches off.
const COOKED_INPUT: u32 = 0x0001 | 0x0002 | 0x0004;
/// Keys as the sequences that a Unix terminal sends.
const SEQUENCES_IN: u32 = 0x0200;
/// Sequences in what is written are obeyed.
const SEQUENCES_OUT: u32 = 0x0004;

/// The modes of input and output.
#[derive(Debug)]
pub(super) struct Settings {
    input: u32,
    output: Option<u32>,
}

pub(super) fn size(stream: StandardStream) -> Option<TerminalSize> {
    let window = match stream {
        // The size belongs to the screen.
        StandardStream::Stdin => {
            console::mode(io::stdin()).ok()?;
            console::window(io::stdout())
        }
        StandardStream::Stdout => console::window(io::stdout()),
        StandardStream::Stderr => console::window(io::stderr()),
    };
    let (rows, columns) = window.ok()?;
    Some(TerminalSize { rows, columns })
}

pub(super) fn settings() -> io::Result<Settings> {
    Ok(Settings {
        input: console::mode(io::stdin())?,
        output: console::mode(io::stdout()).ok(),
    })
}

pub(super) fn make_raw(before: &Settings) -> io::Result<()> {
    console::set_mode(io::stdin(), (before.input & !COOKED_INPUT) | SEQUENCES_IN)?;
    match before.output {
        Some(output) => console::set_mode(io::stdout(), output | SEQUENCES_OUT),
        None => Ok(()),
    }
}

pub(super) fn restore(before: &Settings) -> io::Result<()> {
    let input = console::set_mode(io::stdin(), before.input);
    if let Some(output) = before.output {
        console::set_mode(io::stdout(), output)?;
    }
    input
}
