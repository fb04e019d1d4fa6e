//! `delete`: removes workspaces and all that is theirs. Refused while the recorded VM lives.

use crate::act::{Act, ActReport, Acted, in_parallel, on_one};
use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::making::request;
use crate::supervisor_client::{Supervisor as _, accept};
use crate::supervisors;
use microagent_types::WorkspaceName;
use microagent_wire::supervisor::request::{Command, Options};
use std::time::Duration;

/// Removing the disk of a workspace takes its time on some file systems.
const DELETE_LIMIT: Duration = Duration::from_mins(1);

/// Removes workspaces. Deleting what is not there succeeds, and the report says so.
pub fn delete(context: &Context, names: &[WorkspaceName], interrupt: &Interrupt) -> Vec<ActReport> {
    in_parallel(names, |name| delete_one(context, name, interrupt))
}

fn delete_one(
    context: &Context,
    name: &WorkspaceName,
    interrupt: &Interrupt,
) -> Result<Acted, WorkspaceError> {
    existing::check_backend(context)?;
    let act = Act {
        command: Command::Delete,
        options: Options::default(),
        note: None,
        limit: DELETE_LIMIT,
    };
    if let Some(existing) = existing::look_up(context, name)? {
        if existing.record.deleting.is_none() {
            return on_one(context, name, &act, interrupt);
        }
        let request = request(context, name, Command::Delete);
        let response = existing
            .supervisor
            .ask(&request, DELETE_LIMIT, interrupt)
            .and_then(accept)?;
        return Ok(acted(response.deleted, response.freed_bytes));
    }
    // Not there, or a leftover of a create that never finished: any supervisor sweeps it.
    if !microagent_os::fs::is_present(
        microagent_state::paths::StateDirectory::at(&context.state_dir)
            .workspace(name)
            .folder(),
    ) {
        return Ok(Acted::default());
    }
    let supervisor = supervisors::choose(context, interrupt)?;
    let request = request(context, name, Command::Delete);
    let response = supervisor
        .ask(&request, DELETE_LIMIT, interrupt)
        .and_then(accept)?;
    Ok(acted(response.deleted, response.freed_bytes))
}

fn acted(deleted: Option<bool>, freed_bytes: Option<u64>) -> Acted {
    let deleted = deleted.unwrap_or(false);
    Acted {
        changed: deleted,
        deleted,
        freed_bytes: freed_bytes.unwrap_or(0),
        ..Acted::default()
    }
}
