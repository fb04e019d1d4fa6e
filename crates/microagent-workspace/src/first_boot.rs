//! The boot of a workspace that was made for it: by `run` and by `run_detached`.
//!
//! A workspace whose VM never ran is removed again, since nobody asked for a workspace as such. One whose
//! boot failed stays: its log is the evidence.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::interrupt::Interrupt;
use crate::making::{check_interrupt, request};
use crate::run::as_ms;
use crate::supervisor_client::{Supervisor as _, SupervisorProgram, accept};
use microagent_state::paths::{Rotation, StateDirectory};
use microagent_types::WorkspaceName;
use microagent_wire::supervisor::request::{Command, Expect, Options};
use microagent_wire::supervisor::response::Response;
use std::time::Duration;

/// Until a guest is ready when nothing is said: the supervisor's own limit under emulation.
const READY_LIMIT: Duration = Duration::from_mins(5);
/// Until a workspace that never ran is deleted.
const DELETE_LIMIT: Duration = Duration::from_mins(1);

/// Whether the VM goes with this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// When this process dies, however it dies, the monitor ends the VM.
    ToThisProcess,
    /// It stays up.
    ToNobody,
}

/// A workspace that was made and not booted yet.
pub(crate) struct FirstBoot<'a> {
    pub(crate) context: &'a Context,
    pub(crate) supervisor: &'a SupervisorProgram,
    pub(crate) name: &'a WorkspaceName,
    pub(crate) expect: Expect,
    pub(crate) bound: Bound,
    pub(crate) ready_timeout: Option<Duration>,
}

impl FirstBoot<'_> {
    /// Boots it and returns when the guest is ready.
    pub(crate) fn perform(&self, interrupt: &Interrupt) -> Result<Response, WorkspaceError> {
        let mut request = request(self.context, self.name, Command::Start);
        request.expect = Some(self.expect);
        request.options = Options {
            client_bound: (self.bound == Bound::ToThisProcess).then_some(true),
            ready_timeout_ms: self.ready_timeout.map(as_ms),
            ..Options::default()
        };
        let limit = self.ready_timeout.unwrap_or(READY_LIMIT);
        let asked = check_interrupt(interrupt)
            .and_then(|()| Ok(self.supervisor.ask(&request, limit, interrupt)?));
        let response = match asked {
            Ok(response) if response.ok => return Ok(response),
            Ok(response) => response,
            Err(error) => {
                self.delete();
                return Err(error);
            }
        };
        let failed = response
            .workspace
            .as_ref()
            .is_some_and(|workspace| workspace.state == "failed");
        let Err(fault) = accept(response) else {
            unreachable!("an ok response was returned above")
        };
        if !failed {
            self.delete();
            return Err(fault.into());
        }
        let paths = StateDirectory::at(&self.context.state_dir).workspace(self.name);
        let log = paths.serial_log(Rotation::Current).display().to_string();
        Err(fault
            .with_hint(format!(
                "its log is `{log}`; remove it with: microagent delete {}",
                self.name
            ))
            .into())
    }

    /// The error that led here matters more than one of this.
    fn delete(&self) {
        let mut request = request(self.context, self.name, Command::Delete);
        request.expect = Some(self.expect);
        let asked = self
            .supervisor
            .ask(&request, DELETE_LIMIT, &Interrupt::new());
        if let Err(error) = asked.and_then(accept) {
            tracing::warn!(workspace = %self.name, %error, "an unfinished workspace is left");
        }
    }
}
