//! One request to a supervisor as it is, and its response as it is, for debugging.
//!
//! What the library would add or read is exactly what somebody who debugs a supervisor must not get,
//! so nothing is parsed on the way in, no lock is taken and nothing is recorded.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::interrupt::Interrupt;
use crate::supervisors;
use std::time::Duration;

/// Until a response must be there: no request of the protocol may take longer.
const RESPONSE_LIMIT: Duration = Duration::from_hours(1);

/// A response, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedThrough {
    /// What the supervisor printed.
    pub response: Vec<u8>,
    /// Whether the response says that it was done.
    pub ok: bool,
}

/// Hands `request` to the supervisor that a new workspace would get.
///
/// # Errors
/// When there is no supervisor, or when it answers with anything but one JSON value.
pub fn pass_through(
    context: &Context,
    request: Vec<u8>,
    interrupt: &Interrupt,
) -> Result<PassedThrough, WorkspaceError> {
    let supervisor = supervisors::choose(context, interrupt)?;
    let reply = supervisor.hold(request, RESPONSE_LIMIT, interrupt)?;
    let value: serde_json::Value =
        serde_json::from_slice(&reply.stdout).map_err(|_| supervisor.no_response(&reply))?;
    Ok(PassedThrough {
        ok: value.get("ok") == Some(&serde_json::Value::Bool(true)),
        response: reply.stdout,
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test makes its files as anybody would"
    )]

    use super::pass_through;
    use crate::{Context, Interrupt};
    use microagent_types::{AbsPath, BackendName};
    use std::os::unix::fs::PermissionsExt as _;

    fn through(script: &str, request: &str) -> Result<super::PassedThrough, super::WorkspaceError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("supervisor");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut context = Context::new(AbsPath::try_from(folder.path()).unwrap()).unwrap();
        context.backend = Some(BackendName::Qemu);
        context.supervisor = Some(program);
        pass_through(&context, request.as_bytes().to_vec(), &Interrupt::new())
    }

    #[test]
    fn bytes_go_in_and_come_out_unchanged() {
        let answer = through("cat", "{ \"ok\" : true , \"x\":1}\n\n").unwrap();
        assert_eq!(answer.response, b"{ \"ok\" : true , \"x\":1}\n\n");
        assert!(answer.ok);
        assert!(!through("cat", "{\"ok\":false}").unwrap().ok);
    }

    #[test]
    fn what_is_no_single_value_is_a_fault_of_the_backend() {
        let error = through("echo '{}{}'; echo why >&2", "").unwrap_err();
        assert_eq!(error.fault().cause, ["why"]);
    }
}
