//! What crosses a guest's network, counted where every frame passes.
//!
//! Lengths that the engine's stream puts in front of frames are counted with them.

use std::cell::Cell;
use std::rc::Rc;

use microagent_supervisor::backend::NetworkBytes;

/// A count that the task which carries shares with whoever asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic(Rc<Cell<NetworkBytes>>);

impl Traffic {
    pub(super) fn count_in(&self, bytes: usize) {
        let mut counted = self.0.get();
        counted.to_guest += bytes as u64;
        self.0.set(counted);
    }

    pub(super) fn count_out(&self, bytes: usize) {
        let mut counted = self.0.get();
        counted.from_guest += bytes as u64;
        self.0.set(counted);
    }

    pub(super) fn bytes(&self) -> NetworkBytes {
        self.0.get()
    }
}
