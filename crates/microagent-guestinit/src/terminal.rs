//! Pseudo-terminals for sessions and for the workload.

use microagent_wire::guest::service::Tty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a terminal is when nobody says.
pub fn default_tty() -> Tty {
    Tty {
        rows: 24,
        cols: 80,
        term: "xterm-256color".to_owned(),
    }
}

/// The byte that ends input on a terminal, Ctrl-D.
pub const END_OF_INPUT: u8 = 4;

/// A pair of ends: ours, and the process's.
#[derive(Debug)]
pub struct Terminal {
    /// Ours; non-blocking.
    pub controller: OwnedFd,
    /// The process's.
    pub terminal: OwnedFd,
}

impl Terminal {
    /// A new terminal, owned by `owner` so that programs may open it again by name.
    ///
    /// # Errors
    /// When the guest has no more terminals.
    pub fn open(tty: &Tty, owner: Option<u32>) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags)?;
        unlockpt(&controller)?;
        let terminal = ioctl_tiocgptpeer(&controller, flags)?;
        if let Some(uid) = owner {
            rustix::fs::fchown(&terminal, Some(rustix::fs::Uid::from_raw(uid)), None)?;
        }
        resize(&controller, tty.rows, tty.cols)?;
        rustix::io::ioctl_fionbio(&controller, true)?;
        Ok(Self {
            controller,
            terminal,
        })
    }
}

/// Tells a terminal its size; its foreground group gets SIGWINCH from the kernel.
pub fn resize(controller: impl AsFd, rows: u16, cols: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(controller, size)?)
}
