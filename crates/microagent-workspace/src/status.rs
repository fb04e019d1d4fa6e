//! `status`: one workspace as it is now, reconciled.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::making::request;
use crate::supervisor_client::{Supervisor as _, accept};
use microagent_types::WorkspaceName;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::request::Command;
use microagent_wire::supervisor::response::Workspace;
use std::time::Duration;

/// A second for the lock and two for the monitor, and the supervisor's own start.
const INSPECT_LIMIT: Duration = Duration::from_secs(5);

/// Tells a workspace. What can't be checked in time is told as recorded, with `stale` set.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::status;
///
/// let workspace = status(&context, &"research".parse()?, &interrupt)?;
/// println!("{} ({})", workspace.state, workspace.reason);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When there is no such workspace or its record is damaged.
pub fn status(
    context: &Context,
    name: &WorkspaceName,
    interrupt: &Interrupt,
) -> Result<Box<Workspace>, WorkspaceError> {
    existing::check_backend(context)?;
    let existing = existing::find(context, name)?;
    let request = request(context, name, Command::Inspect);
    let response = existing
        .supervisor
        .ask(&request, INSPECT_LIMIT, interrupt)
        .and_then(accept)?;
    response.workspace.ok_or_else(|| {
        Fault::new(
            FaultKind::Backend,
            format!("the supervisor told nothing of `{name}`"),
        )
        .into()
    })
}

/// The environment of a workspace with its values, in the order of the record. `status` tells the names
/// only, since values may be secrets.
///
/// # Errors
/// When there is no such workspace or its record is damaged.
pub fn environment(
    context: &Context,
    name: &WorkspaceName,
) -> Result<Vec<(String, String)>, WorkspaceError> {
    let existing = existing::find(context, name)?;
    let variables = existing.record.config.env.iter();
    Ok(variables
        .map(|(name, value)| (name.as_str().to_owned(), value.to_owned()))
        .collect())
}
