//! A task of the monitor's loop that carries a guest's frames, and its end: one that is cut, or dropped,
//! carries nothing any more.

use std::cell::RefCell;
use std::future::Future;
use std::io;

use tokio::task::JoinHandle;

/// The task, until it is cut.
#[derive(Debug)]
pub(super) struct Carrying {
    task: RefCell<Option<JoinHandle<()>>>,
}

impl Carrying {
    /// Begins. Must be called inside a `LocalSet`.
    pub(super) fn start(work: impl Future<Output = io::Result<()>> + 'static) -> Self {
        let task = tokio::task::spawn_local(async move {
            // The end of either side is told by who watches its process.
            if let Err(error) = work.await {
                tracing::info!(%error, "the guest's network ends");
            }
        });
        Self {
            task: RefCell::new(Some(task)),
        }
    }

    /// Ends it. No byte crosses once this is done; twice is once.
    pub(super) async fn cut(&self) {
        let task = self.task.borrow_mut().take();
        if let Some(task) = task {
            task.abort();
            // It was aborted, or had ended.
            let _ = task.await;
        }
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}
