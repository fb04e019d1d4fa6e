//! What calls end in, as the supervisor takes it, and how a call is made without holding up the loop.

use std::error::Error;
use std::io;
use std::time::Duration;

use microagent_supervisor::backend::{BackendError, BackendErrorKind};

use crate::calls::CallError;
use crate::host::COMPONENT;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the service did not {what} within {limit_ms} ms")]
    Silent { what: &'static str, limit_ms: u128 },
    #[error("the compute system has gone")]
    Gone,
    #[error("the call did not come to its end")]
    Torn,
}

/// A call that failed.
pub(crate) fn call(error: CallError) -> BackendError {
    BackendError::new(error.kind(), COMPONENT, error)
}

/// Something around the calls failed.
pub(crate) fn failed(error: impl Into<Box<dyn Error + 'static>>) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, COMPONENT, error)
}

/// A port of the guest that was not reached.
pub(crate) fn dial(error: io::Error) -> BackendError {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            BackendErrorKind::NotFound
        }
        io::ErrorKind::TimedOut => BackendErrorKind::Timeout,
        io::ErrorKind::PermissionDenied => BackendErrorKind::Denied,
        _ => BackendErrorKind::Failed,
    };
    BackendError::new(kind, COMPONENT, error)
}

/// No answer within its time.
pub(crate) fn silent(what: &'static str, limit: Duration) -> BackendError {
    let limit_ms = limit.as_millis();
    let silent = NoAnswer::Silent { what, limit_ms };
    BackendError::new(BackendErrorKind::Timeout, COMPONENT, silent)
}

/// Makes a call on a thread of the pool and waits for it within a limit. A call that takes longer is left to
/// itself.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    made: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(made)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(failed(NoAnswer::Torn)),
        Err(_) => Err(silent(what, limit)),
    }
}
