//! One request on its way: who asks, for which workspace, of which backend, and what is known so far
//! for the answer. An act fails with a fault; what was learnt until then is kept here, so that the
//! answer has the workspace even then.

use crate::backend::Backend;
use crate::interrupts::Interrupts;
use crate::origin::Origin;
use microagent_state::paths::StateDirectoryError;
use microagent_state::record_store::RecordError;
use microagent_state::workspace_lock::{LockError, WorkspaceLock};
use microagent_state::{StateDirectory, WorkspacePaths};
use microagent_types::{RequestId, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind, LockHolder};
use microagent_wire::supervisor::request::Request;
use microagent_wire::supervisor::response::Response;
use std::time::Duration;

/// A request that concerns a workspace.
pub(crate) struct Context<'a> {
    /// What runs VMs here.
    pub(crate) backend: &'a dyn Backend,
    /// What was asked.
    pub(crate) request: Request,
    /// Its id, made when the caller gave none.
    pub(crate) request_id: RequestId,
    /// Where everything lies.
    pub(crate) directory: StateDirectory,
    /// Where the workspace lies.
    pub(crate) paths: WorkspacePaths,
    /// What ends a wait.
    pub(crate) interrupts: Interrupts,
    /// The answer as far as it is known.
    pub(crate) response: Response,
}

impl Context<'_> {
    /// The workspace's name.
    pub(crate) fn name(&self) -> &WorkspaceName {
        self.paths.name()
    }

    /// Who asked and why, as records have it.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            request_id: self.request_id.clone(),
            initiator: self.request.initiator.clone(),
            note: self.request.note.clone(),
        }
    }

    /// Stage 11.
    pub(crate) fn lock(&self, patience: Duration) -> Result<WorkspaceLock, Fault> {
        let patience = self
            .request
            .options
            .lock_timeout_ms
            .map_or(patience, Duration::from_millis);
        // What people call it; it is a start only to the protocol.
        let command = match self.request.options.maintenance {
            Some(_) => "cp",
            None => self.request.command.as_str(),
        };
        WorkspaceLock::acquire(&self.paths, patience, command, &self.request_id)
            .map_err(|error| lock_fault(self.name(), &error, patience))
    }

    /// Says something that did not stop the act.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.response.warnings.push(warning.into());
    }
}

/// The fault of a workspace that is not there.
pub(crate) fn not_found(name: &WorkspaceName) -> Fault {
    Fault::new(
        FaultKind::NotFound,
        format!("there is no workspace `{name}`"),
    )
}

/// The fault of a lock that was not taken.
pub(crate) fn lock_fault(name: &WorkspaceName, error: &LockError, patience: Duration) -> Fault {
    match error {
        LockError::Busy { holder } => {
            let message = match holder {
                Some(holder) => format!("`{name}` is held by another command ({})", holder.command),
                None => format!("`{name}` is held by another command"),
            };
            let holder = holder.as_ref().map(|holder| LockHolder {
                pid: holder.pid,
                command: holder.command.clone(),
                request_id: holder.request_id.parse().ok(),
                since: holder.since,
            });
            Fault::new(FaultKind::Busy, message)
                .with_hint("try again when it is done")
                .with_details(|details| {
                    details.holder = holder;
                    details.waited_for = Some("the lock of the workspace".to_owned());
                    details.deadline_ms = Some(microagent_os::clock::whole_ms(patience));
                })
        }
        LockError::NoFolder => not_found(name),
        LockError::Fs(error) => crate::faults::of_file(error),
    }
}

/// The fault of a record that was not read or written.
pub(crate) fn record_fault(error: &RecordError) -> Fault {
    match error {
        RecordError::Fs(error) if !error.is_too_large() => crate::faults::of_file(error),
        _ => Fault::from_error(FaultKind::Integrity, error),
    }
}

/// The fault of a state directory that can't be used.
pub(crate) fn directory_fault(error: &StateDirectoryError) -> Fault {
    let kind = match error {
        StateDirectoryError::Absent { .. } => FaultKind::NotFound,
        StateDirectoryError::NotPrivate(_) => FaultKind::Denied,
        StateDirectoryError::Schema { .. } => FaultKind::Integrity,
        StateDirectoryError::Fs(error) => return crate::faults::of_file(error),
    };
    Fault::from_error(kind, error)
}
