//! Named points at which a test may end the process, as a crash or a power cut would.
//!
//! The promise "kill -9 at any instant" can't be tested by hoping for an instant. Code that makes
//! something durable passes a named point between every two steps; a test runs the act once to
//! learn which points it passes, then once for each of them, with the process ended right there.
//!
//! Without the feature `crash-points` a point is an empty function. With it, two variables speak:
//! `MICROAGENT_TEST_CRASH_AT=name` or `name:n` (the n-th pass, from 1) ends the process with
//! SIGABRT; `MICROAGENT_TEST_CRASH_LOG=path` gets a line for every point passed.

/// Ends the process here when a test asked for it.
#[inline]
pub fn pass(name: &'static str) {
    imp::pass(name);
}

#[cfg(not(feature = "crash-points"))]
mod imp {
    #[inline]
    pub(super) fn pass(_name: &'static str) {}
}

#[cfg(feature = "crash-points")]
mod imp {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    static PASSES: Mutex<BTreeMap<&'static str, u32>> = Mutex::new(BTreeMap::new());

    pub(super) fn pass(name: &'static str) {
        let count = {
            let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
            let count = passes.entry(name).or_insert(0);
            *count += 1;
            *count
        };
        if let Some(log) = std::env::var_os("MICROAGENT_TEST_CRASH_LOG")
            && let Ok(mut file) = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(log)
        {
            // A log that can't be written makes the test that reads it fail, which is enough.
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
        if let Ok(wanted) = std::env::var("MICROAGENT_TEST_CRASH_AT") {
            let (wanted_name, wanted_count) = match wanted.rsplit_once(':') {
                Some((name, count)) => (name, count.parse().unwrap_or(1)),
                None => (wanted.as_str(), 1),
            };
            if wanted_name == name && wanted_count == count {
                std::process::abort();
            }
        }
    }
}
