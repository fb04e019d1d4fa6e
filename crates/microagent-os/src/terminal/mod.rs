//! The terminal: whether there is one, how large it is, and raw mode that is always undone.
//!
//! A program that dies in raw mode leaves its user with a terminal that echoes nothing. The guard
//! restores on drop, so also when an error or a panic goes through. It draws nothing.

use std::io::{self, IsTerminal};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// One of the three streams of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardStream {
    /// Input.
    Stdin,
    /// Data.
    Stdout,
    /// Talk.
    Stderr,
}

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// True when the stream is a terminal.
pub fn is_terminal(stream: StandardStream) -> bool {
    match stream {
        StandardStream::Stdin => io::stdin().is_terminal(),
        StandardStream::Stdout => io::stdout().is_terminal(),
        StandardStream::Stderr => io::stderr().is_terminal(),
    }
}

/// The size of the terminal behind a stream; `None` when it is none or does not know its size.
pub fn size(stream: StandardStream) -> Option<TerminalSize> {
    platform::size(stream).filter(|size| size.rows > 0 && size.columns > 0)
}

/// Raw mode of the terminal behind stdin, for as long as the value lives.
#[derive(Debug)]
pub struct RawMode {
    before: platform::Settings,
}

impl RawMode {
    /// Enters raw mode: every key goes to the program, Ctrl-C included. No terminal is an error.
    pub fn enter() -> io::Result<Self> {
        let before = platform::settings()?;
        platform::make_raw(&before)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone away needs no restoring.
        let _ = platform::restore(&self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Conversation, Spawn};
    use std::time::Duration;

    /// Runs a test of this file under a pseudo-terminal that `script` makes.
    fn under_a_terminal(test: &str) -> String {
        let program = crate::process::current_executable().unwrap();
        let command = format!(
            "stty rows 30 cols 101; {} --exact {test} --nocapture",
            program.display()
        );
        let spawn = Spawn::new("/usr/bin/script")
            .arguments(["-q", "-e", "-c", &command, "/dev/null"])
            .variable("PATH", "/usr/bin:/bin")
            .variable("UNDER_TERMINAL", "1");
        let limits = Conversation {
            limit: Duration::from_secs(30),
            stdout_bytes_max: 100_000,
            stderr_bytes_max: 1000,
        };
        let reply = limits.hold(spawn, Vec::new()).unwrap();
        let text = String::from_utf8_lossy(&reply.stdout).into_owned();
        assert!(reply.exit.is_success(), "{text}");
        text
    }

    #[test]
    fn raw_mode_is_undone_also_by_a_panic() {
        let text = under_a_terminal("terminal::tests::inside_a_terminal");
        assert!(text.contains("30x101, restored"), "{text}");
    }

    #[test]
    fn inside_a_terminal() {
        if std::env::var_os("UNDER_TERMINAL").is_none() {
            return;
        }
        let size = size(StandardStream::Stdin).unwrap();
        let before = format!("{:?}", platform::settings().unwrap());
        let panicked = std::panic::catch_unwind(|| {
            let _raw = RawMode::enter().unwrap();
            assert_ne!(format!("{:?}", platform::settings().unwrap()), before);
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(format!("{:?}", platform::settings().unwrap()), before);
        println!("{}x{}, restored", size.rows, size.columns);
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        let spawn = Spawn::new(crate::process::current_executable().unwrap())
            .arguments(["--exact", "terminal::tests::inside_a_pipe"])
            .variable("INSIDE_A_PIPE", "1");
        let limits = Conversation {
            limit: Duration::from_secs(30),
            stdout_bytes_max: 100_000,
            stderr_bytes_max: 1000,
        };
        assert!(limits.hold(spawn, Vec::new()).unwrap().exit.is_success());
    }

    #[test]
    fn inside_a_pipe() {
        if std::env::var_os("INSIDE_A_PIPE").is_some() {
            assert!(!is_terminal(StandardStream::Stdin));
            assert_eq!(size(StandardStream::Stdin), None);
            assert!(RawMode::enter().is_err());
        }
    }
}
