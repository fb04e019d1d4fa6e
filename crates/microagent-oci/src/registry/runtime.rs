//! The one thread on which sockets wait, so that callers need no runtime and may have one.

use std::{
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};

use super::error::RegistryError;
use crate::{cancel::CancelToken, error::OciError};

/// Between two looks at whether somebody asked for an end; a signal handler can only set a flag.
pub(crate) const CANCEL_PAUSE: Duration = Duration::from_millis(50);

/// A thread with a runtime. Dropping it ends what runs on it.
#[derive(Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    pub(crate) fn start() -> Result<Self, RegistryError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RegistryError::Thread)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                // The sender speaks or goes: both mean the end.
                let _ = runtime.block_on(ended);
                // A credential helper may still run; it has a deadline of its own.
                runtime.shutdown_background();
            })
            .map_err(RegistryError::Thread)?;
        Ok(Self {
            handle,
            end: Some(end),
            thread: Some(thread),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` over there and waits for it here. What it waits for has deadlines of its own.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        cancel: &CancelToken,
        work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Result<T, OciError> {
        let (tell, told) = sync_channel(1);
        let task = self.handle.spawn(async move {
            // The caller has gone when nobody listens.
            let _ = tell.send(work.await);
        });
        loop {
            match told.recv_timeout(CANCEL_PAUSE) {
                Ok(result) => return result.map_err(OciError::Registry),
                Err(RecvTimeoutError::Timeout) if !cancel.is_cancelled() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    task.abort();
                    return Err(OciError::Cancelled);
                }
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}
