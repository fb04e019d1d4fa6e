//! What calls end in, as the supervisor takes it.

use std::error::Error;

use microagent_supervisor::backend::{BackendError, BackendErrorKind};

use crate::config::COMPONENT;
use crate::events::{CallError, Meaning};

/// A call that failed.
pub(crate) fn call(error: CallError) -> BackendError {
    let kind = match error.meaning() {
        Meaning::NobodyListens => BackendErrorKind::NotFound,
        Meaning::Exhausted => BackendErrorKind::Resource,
        Meaning::NotHere => BackendErrorKind::Unsupported,
        Meaning::Failed => BackendErrorKind::Failed,
    };
    BackendError::new(kind, COMPONENT, error)
}

/// Something around the calls failed.
pub(crate) fn failed(error: impl Into<Box<dyn Error + 'static>>) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, COMPONENT, error)
}
