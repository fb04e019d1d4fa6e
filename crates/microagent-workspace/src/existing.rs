//! A workspace that is there: its record, and the supervisor of the backend that it was made for.

use crate::backend_choice;
use crate::context::Context;
use crate::error::WorkspaceError;
use crate::supervisor_client::SupervisorProgram;
use crate::supervisors;
use microagent_state::paths::{StateDirectory, WorkspacePaths};
use microagent_state::{RuntimeRecord, WorkspaceRecord, record_store};
use microagent_types::WorkspaceName;
use microagent_wire::fault::{Fault, FaultKind};

/// Largest edit distance at which a name is offered in place of the one that was typed.
const SUGGESTED_DISTANCE_MAX: usize = 2;

/// A workspace that is there.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) paths: WorkspacePaths,
    pub(crate) record: WorkspaceRecord,
    pub(crate) supervisor: SupervisorProgram,
}

/// Finds a workspace by name; `None` when there is none.
pub(crate) fn look_up(
    context: &Context,
    name: &WorkspaceName,
) -> Result<Option<Existing>, WorkspaceError> {
    let paths = StateDirectory::at(&context.state_dir).workspace(name);
    let stored = record_store::read::<WorkspaceRecord>(&paths.workspace_record())?;
    // One whose deletion was begun is gone for everybody but the next delete.
    let Some(record) = stored.map(|stored| stored.value) else {
        return Ok(None);
    };
    if let Some(other) = context.backend.filter(|backend| *backend != record.backend) {
        let message = format!(
            "`{name}` belongs to the backend `{}`, not `{other}`",
            record.backend
        );
        let hint = format!("leave out --backend, or use another workspace than `{name}`");
        return Err(Fault::new(FaultKind::Unsupported, message)
            .with_hint(hint)
            .into());
    }
    let supervisor = supervisors::of_backend(context, record.backend)?;
    Ok(Some(Existing {
        paths,
        record,
        supervisor,
    }))
}

/// Finds a workspace by name.
///
/// # Errors
/// With kind `not_found`, and the nearest name as a hint, when there is none.
pub(crate) fn find(context: &Context, name: &WorkspaceName) -> Result<Existing, WorkspaceError> {
    match look_up(context, name)? {
        Some(existing) if existing.record.deleting.is_none() => Ok(existing),
        _ => Err(unknown(context, name).into()),
    }
}

/// Refuses a name that is taken, before an image is built for nothing. Whoever makes the workspace
/// decides under its lock; this only answers early.
pub(crate) fn check_free(context: &Context, name: &WorkspaceName) -> Result<(), WorkspaceError> {
    let paths = StateDirectory::at(&context.state_dir).workspace(name);
    let Some(stored) = record_store::read::<WorkspaceRecord>(&paths.workspace_record())? else {
        return Ok(());
    };
    if stored.value.deleting.is_some() {
        return Ok(());
    }
    let runtime = record_store::read::<RuntimeRecord>(&paths.runtime_record())
        .ok()
        .flatten();
    let state = runtime.and_then(|runtime| runtime.value.state().ok());
    let fault = Fault::new(
        FaultKind::Conflict,
        format!("workspace `{name}` already exists"),
    )
    .with_hint(format!("microagent start {name}, or choose another name"))
    .with_details(|details| {
        details.state = state.map(|state| state.name().as_str().to_owned());
    });
    Err(fault.into())
}

/// The refusal of a name that no workspace has.
pub(crate) fn unknown(context: &Context, name: &WorkspaceName) -> Fault {
    let names = StateDirectory::at(&context.state_dir)
        .list_names()
        .unwrap_or_default();
    let nearest = names
        .iter()
        .map(|known| (strsim::levenshtein(known.as_str(), name.as_str()), known))
        .filter(|(distance, _)| *distance <= SUGGESTED_DISTANCE_MAX)
        .min();
    let hint = match nearest {
        Some((_, known)) => format!("did you mean `{known}`? all names: microagent list"),
        None => "all names: microagent list".to_owned(),
    };
    Fault::new(
        FaultKind::NotFound,
        format!("there is no workspace `{name}`"),
    )
    .with_hint(hint)
}

/// Refuses a foreign backend before anything of the workspace is read.
pub(crate) fn check_backend(context: &Context) -> Result<(), WorkspaceError> {
    use microagent_types::Arch;
    use microagent_types::backend::HostOs;
    match context.backend {
        Some(backend) => Ok(backend_choice::check_host(
            backend,
            HostOs::current(),
            Arch::current(),
        )?),
        None => Ok(()),
    }
}
