//! Why a backend could not do what was asked, as a case and its cause.
//!
//! A backend has its own error enums; here it says which of the protocol's kinds they are, and the
//! supervisor makes the fault. The text is the error's own, so nothing is said twice.

use std::error::Error;
use std::fmt;

/// What a failure means to a caller. Each becomes the fault kind of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendErrorKind {
    /// This host or this version of a program cannot do it, or a program is missing.
    Unsupported,
    /// The host's permissions refuse.
    Denied,
    /// Something named is not there; of a dial: nothing listens on that port.
    NotFound,
    /// Already taken.
    Conflict,
    /// Memory, descriptors or space are exhausted.
    Resource,
    /// A deadline of the backend's own ran out.
    Timeout,
    /// The guest is at fault.
    Guest,
    /// A VMM, helper or framework failed.
    Failed,
}

/// A backend's failure. Displayed as its cause.
#[derive(Debug)]
pub struct BackendError {
    /// What it means to a caller.
    pub kind: BackendErrorKind,
    /// Which program or framework failed: `qemu`, `passt`.
    pub component: &'static str,
    /// What a person can do now.
    pub hint: Option<String>,
    error: Box<dyn Error + 'static>,
}

impl BackendError {
    /// A failure with its cause, whose sources become the causes of the fault.
    pub fn new(
        kind: BackendErrorKind,
        component: &'static str,
        error: impl Into<Box<dyn Error + 'static>>,
    ) -> Self {
        Self {
            kind,
            component,
            hint: None,
            error: error.into(),
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error behind it.
    pub fn error(&self) -> &(dyn Error + 'static) {
        self.error.as_ref()
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, formatter)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
