//! How much of a command's stdin may be on its way.
//!
//! A guest says how much it takes in at once, and tells what its process has taken. Without that bound a
//! process that reads slowly fills the vsock device between the two, and the device of QEMU
//! (vhost-device-vsock 0.3.0) then stops to carry what the guest says as well: a command that writes while
//! it reads would hang for good. It also keeps the connection free for signals.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The bound, shared by the thread that sends and the one that hears the guest.
#[derive(Debug)]
pub(crate) struct StdinWindow {
    bytes_max: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sent: u64,
    taken: u64,
    is_over: bool,
}

impl StdinWindow {
    /// The window that a guest has told; without one nothing is held back.
    pub(crate) fn new(bytes_max: Option<u64>) -> Self {
        Self {
            bytes_max: bytes_max.unwrap_or(u64::MAX),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until so many bytes may be sent and counts them as sent. False when the session is over.
    pub(crate) fn admit(&self, bytes: u64) -> bool {
        let mut state = self.state();
        loop {
            if state.is_over {
                return false;
            }
            let outstanding = state.sent.saturating_sub(state.taken);
            // A piece that is larger than the window goes alone.
            if outstanding == 0 || outstanding.saturating_add(bytes) <= self.bytes_max {
                state.sent += bytes;
                return true;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The guest has taken so many bytes in all.
    pub(crate) fn taken(&self, bytes: u64) {
        let mut state = self.state();
        // A hostile guest can open the window, which is its own, and not make it count backwards.
        state.taken = state.taken.max(bytes);
        self.changed.notify_all();
    }

    /// The session is over; nobody waits any more.
    pub(crate) fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere leaves it sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::StdinWindow;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    const SILENCE: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn bytes_wait_until_earlier_ones_are_taken_or_the_session_is_over() {
        let window = Arc::new(StdinWindow::new(Some(100)));
        let (tell, told) = sync_channel(4);
        let sender = Arc::clone(&window);
        std::thread::spawn(move || {
            for _ in 0..4 {
                tell.send(sender.admit(60)).unwrap();
            }
        });
        assert!(told.recv_timeout(PATIENCE).unwrap());
        assert!(
            told.recv_timeout(SILENCE).is_err(),
            "120 bytes are too many"
        );
        window.taken(20);
        assert!(told.recv_timeout(PATIENCE).unwrap());
        window.taken(10);
        assert!(
            told.recv_timeout(SILENCE).is_err(),
            "it never counts backwards"
        );
        window.taken(120);
        assert!(told.recv_timeout(PATIENCE).unwrap());
        window.end();
        assert!(!told.recv_timeout(PATIENCE).unwrap());
    }

    #[test]
    fn a_piece_beyond_the_window_goes_alone_and_without_a_window_all_go() {
        let window = StdinWindow::new(Some(10));
        assert!(window.admit(1000));
        window.taken(1000);
        assert!(window.admit(1000));
        let open = StdinWindow::new(None);
        assert!((0..100).all(|_| open.admit(1 << 40)));
    }
}
