//! A blob between the one who fetches it and those who read it.
//!
//! ```text
//! pending -> stored (was there already)                -> read, digest compared by the reader
//!        \-> fetching -> advance, advance, ... -> end   -> read along, verdict at the end
//! ```
//!
//! Unpacking so overlaps the download. A reader sees bytes before they are proved, and sees the
//! end of the blob only when its digest was right.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use crate::registry::RegistryError;

/// Why bytes are not there.
#[derive(Debug, Clone, Error)]
pub(crate) enum NotArrived {
    #[error("reading the image was interrupted")]
    Cancelled,
    #[error(transparent)]
    Failed(Arc<RegistryError>),
}

impl From<NotArrived> for io::Error {
    fn from(error: NotArrived) -> Self {
        Self::other(error)
    }
}

/// One blob on its way.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    file: Option<(Arc<File>, Origin)>,
    there: u64,
    end: Option<Result<(), NotArrived>>,
    abandoned: bool,
}

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They were kept by an earlier fetch; whoever reads them compares the digest.
    Stored,
    /// They are fetched now, and their digest is compared at the end.
    Fetched,
}

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes will be in `file`.
    pub(crate) fn begin(&self, file: Arc<File>, origin: Origin) {
        self.lock().file = Some((file, origin));
        self.changed.notify_all();
    }

    /// The first `there` bytes have been written.
    pub(crate) fn advance(&self, there: u64) {
        self.lock().there = there;
        self.changed.notify_all();
    }

    /// How many bytes have been written.
    pub(crate) fn there(&self) -> u64 {
        self.lock().there
    }

    /// No more will come. The first end counts.
    pub(crate) fn end(&self, end: Result<(), NotArrived>) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        self.changed.notify_all();
    }

    /// Nobody wants the bytes any more; whoever waits for them is woken.
    pub(crate) fn abandon(&self) {
        self.lock().abandoned = true;
        self.changed.notify_all();
    }

    pub(crate) fn needs_proof(&self) -> bool {
        let state = self.wait_until(|state| state.file.is_some());
        !matches!(state.file, Some((_, Origin::Fetched)))
    }

    /// Waits for a byte at `position`: the file, and how many bytes are there from it on.
    pub(crate) fn wait_beyond(&self, position: u64) -> Result<(Arc<File>, u64), NotArrived> {
        let state = self.wait_until(|state| state.there > position);
        match (&state.file, &state.end) {
            (Some((file, _)), _) if state.there > position => {
                Ok((Arc::clone(file), state.there - position))
            }
            (_, Some(Err(error))) => Err(error.clone()),
            _ => Err(NotArrived::Cancelled),
        }
    }

    /// Waits for the end, and says whether the blob is what it was promised to be.
    pub(crate) fn verdict(&self) -> Result<(), NotArrived> {
        let state = self.wait_until(|_| false);
        state.end.clone().unwrap_or(Err(NotArrived::Cancelled))
    }

    /// Waits for `wanted`, for the end, or until nobody waits any more. The one who fetches ends
    /// every arrival, whatever becomes of it, within its own deadlines.
    fn wait_until(&self, wanted: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed
            .wait_while(self.lock(), |state| {
                !wanted(state) && state.end.is_none() && !state.abandoned
            })
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn a_reader_waits_for_its_bytes_and_for_the_verdict() {
        let arrival = Arc::new(Arrival::default());
        let reader = Arc::clone(&arrival);
        let reading = thread::spawn(move || {
            assert!(!reader.needs_proof());
            let (_, there) = reader.wait_beyond(4).unwrap();
            (there, reader.verdict().is_ok())
        });
        arrival.begin(file(), Origin::Fetched);
        arrival.advance(4);
        arrival.advance(10);
        arrival.end(Ok(()));
        assert_eq!(reading.join().unwrap(), (6, true));
    }

    #[test]
    fn whoever_waits_is_woken_by_a_failure_and_when_nobody_wants_the_rest() {
        let failed = Arrival::default();
        failed.end(Err(NotArrived::Cancelled));
        failed.end(Ok(()));
        assert!(failed.wait_beyond(0).is_err() && failed.verdict().is_err());
        let abandoned = Arc::new(Arrival::default());
        let reader = Arc::clone(&abandoned);
        let reading = thread::spawn(move || reader.wait_beyond(0).is_err());
        abandoned.abandon();
        assert!(reading.join().unwrap());
    }
}
