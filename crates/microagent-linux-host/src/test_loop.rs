//! The monitor's kind of loop, for tests: one thread, with a limit on each test.

use std::future::Future;
use std::time::Duration;

const TEST_LIMIT: Duration = Duration::from_secs(20);

/// Runs a future as the monitor would.
pub(crate) fn in_loop(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(TEST_LIMIT, test)
            .await
            .expect("the test ends in time");
    });
}
