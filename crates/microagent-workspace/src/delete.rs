//! `delete`: removes workspaces and all that is theirs. Refused while the recorded VM lives.

use crate::act::{ActReport, Acted, in_parallel};
use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::making::request;
use crate::supervisor_client::{Supervisor as _, accept};
use crate::supervisors;
use microagent_os::fs;
use microagent_state::paths::StateDirectory;
use microagent_types::WorkspaceName;
use microagent_wire::supervisor::request::Command;
use std::time::Duration;

/// Removing the disk of a workspace takes its time on some file systems.
const DELETE_LIMIT: Duration = Duration::from_mins(1);

/// Removes workspaces. Deleting what is not there succeeds, and the report says so.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::delete;
///
/// for report in delete(&context, &["research".parse()?], &interrupt) {
///     println!("{} freed {} bytes", report.name, report.result?.freed_bytes);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn delete(context: &Context, names: &[WorkspaceName], interrupt: &Interrupt) -> Vec<ActReport> {
    in_parallel(names, |name| delete_one(context, name, interrupt))
}

fn delete_one(
    context: &Context,
    name: &WorkspaceName,
    interrupt: &Interrupt,
) -> Result<Acted, WorkspaceError> {
    existing::check_backend(context)?;
    let supervisor = match existing::look_up(context, name)? {
        Some(existing) => existing.supervisor,
        None if !fs::is_present(
            StateDirectory::at(&context.state_dir)
                .workspace(name)
                .folder(),
        ) =>
        {
            return Ok(Acted::default());
        }
        // A leftover of a create that never finished: any supervisor sweeps it.
        None => supervisors::choose(context, interrupt)?,
    };
    let request = request(context, name, Command::Delete);
    let response = supervisor
        .ask(&request, DELETE_LIMIT, interrupt)
        .and_then(accept)?;
    Ok(Acted::of(response))
}
