//! A panic becomes an error of kind `internal` that asks for a report.
//!
//! By itself a panic prints in the middle of whatever the terminal shows, in a form that `--json`
//! readers can't parse, with a code that means nothing. Here the hook only remembers; the stack
//! unwinds, which restores the terminal, and then main shows the fault like any other.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use microagent_wire::fault::{Fault, FaultKind};

use crate::error::Failure;

static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs `body`; a panic in it is a failure of kind `internal`.
pub(crate) fn guard<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::set_hook(Box::new(remember));
    let ended = panic::catch_unwind(AssertUnwindSafe(body));
    ended.unwrap_or_else(|_| Err(Failure::Command(fault())))
}

fn remember(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(String::new, |location| format!(" at {location}"));
    let message = panic.payload_as_str().unwrap_or("no message");
    let text = format!("{message}{place}");
    tracing::error!(panic = %text, "a thread panicked");
    FIRST_PANIC
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(text);
}

fn fault() -> Fault {
    let cause = FIRST_PANIC
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Fault::new(FaultKind::Internal, "microagent met a bug of its own")
        .with_hint(
            "please report it with what `microagent version` says and the output of the same \
             command with -vv",
        )
        .with_cause(cause.unwrap_or_else(|| "a panic without a message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::guard;
    use crate::error::Failure;
    use microagent_wire::fault::FaultKind;

    #[test]
    fn a_panic_is_an_internal_failure_that_asks_for_a_report() {
        let failure = guard::<()>(|| panic!("the sky fell")).unwrap_err();
        let Failure::Command(fault) = &failure else {
            panic!("unexpected: {failure:?}");
        };
        assert_eq!(fault.kind, FaultKind::Internal);
        assert!(fault.cause[0].starts_with("the sky fell at "), "{fault:?}");
        assert!(fault.hint.as_ref().is_some_and(|hint| hint.contains("-vv")));
        assert_eq!(failure.exit_code(), 1);
    }
}
