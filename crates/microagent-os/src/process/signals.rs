//! Signals to this process as values that a loop takes when it is ready.
//!
//! A handler may do next to nothing, so ours writes one byte into a pipe and the rest happens in
//! ordinary code: [`SignalWatch::wait`], or a descriptor to wait for beside others.

use std::io;
use std::time::Duration;

use super::platform;
use super::{Signal, wait_readable};

/// Watched signals. They stay watched until the process ends, also after a drop, since restoring
/// a default that kills would be a surprise.
#[derive(Debug)]
pub struct SignalWatch {
    source: platform::SignalSource,
}

impl SignalWatch {
    /// Begins to watch. Once in a process: a second time is an error of kind `AlreadyExists`.
    /// [`Signal::Kill`] is an error of kind `InvalidInput`.
    pub fn install(signals: &[Signal]) -> io::Result<Self> {
        Ok(Self {
            source: platform::watch_signals(signals)?,
        })
    }

    /// The next signal that has come, without waiting. Equal signals may be merged by the kernel.
    pub fn take(&mut self) -> io::Result<Option<Signal>> {
        platform::take_signal(&mut self.source)
    }

    /// Waits for the next signal. `None` when the time ran out.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<Signal>> {
        wait_readable(&[self.descriptor()], Some(limit))?;
        self.take()
    }

    /// A descriptor that is readable while signals wait to be taken.
    pub fn descriptor(&self) -> platform::Descriptor<'_> {
        platform::signal_descriptor(&self.source)
    }

    /// Waits for the next signal inside a tokio loop.
    #[cfg(feature = "tokio")]
    pub async fn next(&mut self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.take()? {
                return Ok(signal);
            }
            platform::readable(self.descriptor()).await?;
        }
    }
}
