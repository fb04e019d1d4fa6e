//! Named points at which a test may end the process, as a crash or a power cut would.
//!
//! The promise "kill -9 at any instant" can't be tested by hoping for an instant. Code that makes
//! something durable passes a named point between every two steps; a test runs the act once to
//! learn which points it passes, then once for each of them, with the process ended right there.
//!
//! Without the feature `crash-points` a point is an empty function. With it, two variables speak:
//! `MICROAGENT_TEST_CRASH_AT=name` or `name:n` (the n-th pass, from 1) ends the process with
//! SIGABRT; `MICROAGENT_TEST_CRASH_LOG=path` gets a line for every point passed.
//!
//! A full disk is tried in the same way: every durable write asks for [`room`] by a name.
//! `MICROAGENT_TEST_FULL_AT=name:n` refuses it the n-th time, `name:n+` from then on whoever asks, and
//! `MICROAGENT_TEST_FULL_LOG=path` gets a line for every time it was asked for.

/// Ends the process here when a test asked for it.
#[inline]
pub fn pass(name: &'static str) {
    imp::pass(name);
}

/// Room for a durable write, which a test may refuse as a full disk does.
///
/// # Errors
/// Of kind `StorageFull`, in builds for tests only.
#[inline]
pub fn room(name: &'static str) -> std::io::Result<()> {
    imp::room(name)
}

#[cfg(not(feature = "crash-points"))]
mod imp {
    #[inline]
    pub(super) fn pass(_name: &'static str) {}

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "a build for tests refuses it")]
    pub(super) fn room(_name: &'static str) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "crash-points")]
mod imp {
    use std::collections::BTreeMap;
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    static PASSES: Mutex<BTreeMap<&'static str, u32>> = Mutex::new(BTreeMap::new());
    static IS_FULL: AtomicBool = AtomicBool::new(false);

    pub(super) fn pass(name: &'static str) {
        let count = count(name);
        log("MICROAGENT_TEST_CRASH_LOG", name);
        if let Ok(wanted) = std::env::var("MICROAGENT_TEST_CRASH_AT")
            && is_that(&wanted, name, count)
        {
            std::process::abort();
        }
    }

    pub(super) fn room(name: &'static str) -> io::Result<()> {
        let count = count(name);
        log("MICROAGENT_TEST_FULL_LOG", name);
        let Ok(wanted) = std::env::var("MICROAGENT_TEST_FULL_AT") else {
            return Ok(());
        };
        let lasting = wanted.strip_suffix('+');
        let is_that = is_that(lasting.unwrap_or(&wanted), name, count);
        if is_that && lasting.is_some() {
            IS_FULL.store(true, Ordering::Relaxed);
        }
        if is_that || IS_FULL.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn count(name: &'static str) -> u32 {
        let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passes.entry(name).or_insert(0);
        *count += 1;
        *count
    }

    fn log(variable: &str, name: &str) {
        if let Some(log) = std::env::var_os(variable)
            && let Ok(mut file) = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(log)
        {
            // A log that can't be written makes the test that reads it fail, which is enough.
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
    }

    fn is_that(wanted: &str, name: &str, count: u32) -> bool {
        let (wanted_name, wanted_count) = match wanted.rsplit_once(':') {
            Some((name, count)) => (name, count.parse().unwrap_or(1)),
            None => (wanted, 1),
        };
        wanted_name == name && wanted_count == count
    }
}
