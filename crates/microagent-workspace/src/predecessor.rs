//! A workspace of the wanted name, which a new one takes the place of.
//!
//! It is looked at before anything is pulled or built, and goes when everything else of the new one is
//! ready: a new one that can't be made leaves the old one alone.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::making::request;
use crate::status::status;
use crate::supervisor_client::{Supervisor as _, accept};
use microagent_types::{WorkspaceId, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::request::{Command, Expect};
use microagent_wire::supervisor::response::Workspace;
use std::time::Duration;

/// Removing the disk of a workspace takes its time on some file systems.
const DELETE_LIMIT: Duration = Duration::from_mins(1);

/// What a taken name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameTaken {
    /// The new workspace is refused.
    #[default]
    Refused,
    /// The new workspace takes the place of the old one, unless that has a VM or a quarantine mark.
    Replaced,
}

/// A workspace that will give way.
#[derive(Debug)]
pub(crate) struct Predecessor {
    id: WorkspaceId,
}

/// Finds out whether the name is free, or can be made free.
///
/// # Errors
/// With kind `conflict` when it is taken, with kind `wrong_state` when who has it must not go.
pub(crate) fn check(
    context: &Context,
    name: &WorkspaceName,
    taken: NameTaken,
    interrupt: &Interrupt,
) -> Result<Option<Predecessor>, WorkspaceError> {
    if taken == NameTaken::Refused {
        return existing::check_free(context, name).map(|()| None);
    }
    match existing::look_up(context, name)? {
        Some(existing) if existing.record.deleting.is_none() => {}
        _ => return Ok(None),
    }
    let workspace = status(context, name, interrupt)?;
    match obstacle(&workspace) {
        Some(fault) => Err(fault.into()),
        None => Ok(Some(Predecessor { id: workspace.id })),
    }
}

fn obstacle(workspace: &Workspace) -> Option<Fault> {
    let name = &workspace.name;
    let (why, hint) = if workspace.quarantine.is_some() {
        let hint =
            format!("choose another name, or look at it first and then: microagent delete {name}");
        ("has been in quarantine", hint)
    } else if workspace.vm.as_ref().is_some_and(|vm| vm.alive) {
        ("has a VM", format!("microagent halt {name}"))
    } else {
        return None;
    };
    let message = format!("workspace `{name}` {why} and is not replaced");
    let fault = Fault::new(FaultKind::WrongState, message).with_hint(hint);
    Some(fault.with_details(|details| details.state = Some(workspace.state.clone())))
}

impl Predecessor {
    /// Removes it, if it still is the one that was looked at.
    pub(crate) fn give_way(
        &self,
        context: &Context,
        name: &WorkspaceName,
        interrupt: &Interrupt,
    ) -> Result<(), WorkspaceError> {
        let Some(existing) = existing::look_up(context, name)? else {
            return Ok(());
        };
        let mut request = request(context, name, Command::Delete);
        request.note = Some("replaced".to_owned());
        request.expect = Some(Expect {
            id: Some(self.id),
            boot_id: None,
        });
        let asked = existing.supervisor.ask(&request, DELETE_LIMIT, interrupt);
        asked.and_then(accept)?;
        Ok(())
    }
}
