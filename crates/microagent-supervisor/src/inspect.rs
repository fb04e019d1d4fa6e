//! Commands that read: `inspect`, `reconcile`, `connect` and `console`; and `delete`.

use crate::context::{Context, record_fault};
use crate::event_view::event_view;
use crate::faults;
use crate::observe::{Repair, observe, read_workspace, socket_folder, sweep_run_folder};
use crate::stop;
use crate::view::absolute;
use microagent_machine::admission::{Admission, Situation, admit};
use microagent_machine::facts::VmFact;
use microagent_machine::reconcile::{Freshness, Verdict};
use microagent_machine::verb::{SessionKind, Verb};
use microagent_os::atomic_file;
use microagent_state::event_log::EventLog;
use microagent_state::lease::Lease;
use microagent_state::workspace_folder::{self, FolderState};
use microagent_state::workspace_lock::{
    LOCK_PATIENCE, LockError, READER_LOCK_PATIENCE, WorkspaceLock,
};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::guest::service::{Service, ServiceRequest, ShellRequest};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, SerialMode};
use microagent_wire::supervisor::request::{Command, EndpointWanted};
use microagent_wire::supervisor::response::{Endpoint, EndpointKind, Transport};

/// `inspect`: reads, and reconciles what a crash has left when nobody holds the lock.
pub(crate) fn inspect(context: &mut Context<'_>) -> Result<(), Fault> {
    let mut observed = observe(context, Repair::None)?;
    let settled = matches!(
        observed.verdict,
        Verdict::TrustMonitor | Verdict::Unchanged(_) | Verdict::Contradiction
    );
    if !settled {
        let command = context.request.command.as_str();
        let lock = WorkspaceLock::acquire(
            &context.paths,
            READER_LOCK_PATIENCE,
            command,
            &context.request_id,
        );
        if lock.is_ok() {
            observed = observe(context, Repair::Allowed)?;
        } else {
            // Somebody is at work on it; what is recorded may be out of date.
            observed.verdict = Verdict::Unchanged(Freshness::Stale);
        }
    }
    if observed.verdict.as_str() != "unchanged" {
        context.response.verdict = Some(observed.verdict.as_str().to_owned());
    }
    if observed.verdict == Verdict::Contradiction {
        let pid = observed.runtime.value.vm.as_ref().and_then(|vm| vm.pid);
        context.warn(format!(
            "integrity: the workspace rests, but process {} of its VM lives; kill it",
            pid.unwrap_or_default()
        ));
    }
    context.response.event = observed.event.as_ref().map(event_view);
    context.response.workspace = Some(Box::new(observed.view(context)));
    if let Some(count) = context.request.options.events.filter(|count| *count > 0) {
        let log = EventLog::new(&context.paths, observed.workspace.value.id);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let events = log
            .last(count)
            .map_err(|error| Fault::from_error(FaultKind::Integrity, &error))?;
        context.response.events = Some(events.iter().map(event_view).collect());
    }
    Ok(())
}

/// `reconcile`: `inspect` under the lock, and removes what belongs to no live boot.
pub(crate) fn reconcile(context: &mut Context<'_>) -> Result<(), Fault> {
    let repair = context.request.options.repair.unwrap_or(true);
    if !repair {
        return inspect(context);
    }
    let lock = context.lock(LOCK_PATIENCE)?;
    let mut cleaned = Vec::new();
    let folder = workspace_folder::observe(&context.paths).map_err(|error| record_fault(&error))?;
    if folder == FolderState::Leftover {
        let path = absolute(context.paths.folder());
        if workspace_folder::sweep(&context.paths, lock).map_err(|error| record_fault(&error))? {
            cleaned.push(path);
        }
        context.response.cleaned = Some(cleaned);
        context.response.changed = Some(true);
        return Ok(());
    }
    let observed = observe(context, Repair::Allowed)?;
    if !observed.monitor_answers() && observed.facts.vm == VmFact::Gone {
        let swept =
            atomic_file::sweep(context.paths.folder()).map_err(|error| faults::of_file(&error))?;
        cleaned.extend(swept.iter().map(|path| absolute(path)));
        if workspace_folder::complete_create(&context.paths).is_ok_and(|removed| removed) {
            cleaned.push(absolute(&context.paths.create_record()));
        }
        sweep_run_folder(&context.paths);
    }
    context.response.changed = Some(observed.event.is_some());
    context.response.verdict = Some(observed.verdict.as_str().to_owned());
    context.response.event = observed.event.as_ref().map(event_view);
    context.response.cleaned = Some(cleaned);
    context.response.workspace = Some(Box::new(observed.view(context)));
    drop(lock);
    Ok(())
}

/// `connect` and `console`: names the endpoint. A named endpoint exists at that moment.
pub(crate) fn connect(context: &mut Context<'_>) -> Result<(), Fault> {
    let serial = context.request.command == Command::Console
        || context.request.options.endpoint == Some(EndpointWanted::Serial);
    let verb = if serial {
        Verb::Serial
    } else {
        Verb::Session(SessionKind::Shell)
    };
    let observed = observe(context, Repair::None)?;
    context.response.workspace = Some(Box::new(observed.view(context)));
    if let Admission::Refused(refusal) = admit(verb, Situation::Present(observed.state)) {
        let state = Some(observed.state);
        return Err(faults::of_refusal(verb, context.name(), refusal, state));
    }
    let run = socket_folder(&context.paths).filter(|_| observed.monitor_answers());
    let Some(run) = run else {
        let message = format!("the monitor of `{}` does not answer", context.name());
        return Err(Fault::new(FaultKind::Backend, message).with_hint("kill the workspace"));
    };
    let options = &context.request.options;
    let (kind, op) = if serial {
        let mode = SerialMode::Attach;
        (EndpointKind::Serial, MonitorOp::Serial { mode })
    } else {
        let generation = observed
            .runtime
            .value
            .guest
            .as_ref()
            .map_or(1, |guest| guest.generation);
        let shell = ServiceRequest {
            generation,
            service: Service::Shell(ShellRequest {
                user: options.user.clone(),
                cwd: options.cwd.clone(),
                ..ShellRequest::default()
            }),
        };
        (
            EndpointKind::MonitorSocket,
            MonitorOp::session(&shell, false),
        )
    };
    context.response.connect = Some(Endpoint {
        kind,
        transport: Transport::Unix,
        path: run.monitor_socket().display().to_string(),
        open: MonitorRequest::new(op).to_line(),
    });
    Ok(())
}

/// `delete`: removes the workspace. What is not there is deleted already.
pub(crate) fn delete(context: &mut Context<'_>) -> Result<(), Fault> {
    if context.request.options.kill == Some(true) {
        kill_ephemeral(context)?;
    }
    let patience = context
        .request
        .options
        .lock_timeout_ms
        .map_or(LOCK_PATIENCE, std::time::Duration::from_millis);
    let lock = WorkspaceLock::acquire(
        &context.paths,
        patience,
        context.request.command.as_str(),
        &context.request_id,
    );
    let lock = match lock {
        Ok(lock) => lock,
        Err(LockError::NoFolder) => {
            deleted_already(context);
            return Ok(());
        }
        Err(error) => return Err(crate::context::lock_fault(context.name(), &error, patience)),
    };
    match workspace_folder::observe(&context.paths).map_err(|error| record_fault(&error))? {
        FolderState::Workspace => delete_workspace(context, lock),
        FolderState::BeingCreated => {
            let message = format!("`{}` is being created by another process", context.name());
            Err(Fault::new(FaultKind::Busy, message).with_hint("try again"))
        }
        FolderState::Absent | FolderState::Leftover => {
            workspace_folder::sweep(&context.paths, lock).map_err(|error| record_fault(&error))?;
            deleted_already(context);
            Ok(())
        }
    }
}

/// One act in place of two for a workspace that goes with its run; any other is killed by a `kill`.
fn kill_ephemeral(context: &mut Context<'_>) -> Result<(), Fault> {
    // The rest of the act says what is so of what is not there, or can't be read.
    let Ok(record) = read_workspace(&context.paths) else {
        return Ok(());
    };
    if record.value.config.ephemeral {
        return stop::kill(context);
    }
    let message = format!("`{}` does not go with a run", context.name());
    Err(Fault::new(FaultKind::WrongState, message).with_hint("kill it, then delete it"))
}

fn delete_workspace(context: &mut Context<'_>, lock: WorkspaceLock) -> Result<(), Fault> {
    match observe(context, Repair::Allowed) {
        Ok(observed) => {
            context.response.workspace = Some(Box::new(observed.view(context)));
            if observed.verdict == Verdict::Contradiction {
                let message = format!("a process of the VM of `{}` lives", context.name());
                return Err(Fault::new(FaultKind::Integrity, message).with_hint("kill it first"));
            }
            if let Admission::Refused(refusal) =
                admit(Verb::Delete, Situation::Present(observed.state))
            {
                let state = Some(observed.state);
                return Err(faults::of_refusal(
                    Verb::Delete,
                    context.name(),
                    refusal,
                    state,
                ));
            }
        }
        // A record that nobody can read must not keep its workspace for ever; whether anything of it
        // lives is asked of the lease below.
        Err(fault) if fault.kind == FaultKind::Integrity => {}
        Err(fault) => return Err(fault),
    }
    // A monitor that has recorded its end still removes its sockets.
    let lease = Lease::take(&context.paths).map_err(|error| {
        Fault::from_error(FaultKind::WrongState, &error).with_hint("halt or kill it first")
    })?;
    sweep_run_folder(&context.paths);
    drop(lease);
    let freed = workspace_folder::delete(&context.paths, lock, &context.request_id)
        .map_err(|error| record_fault(&error))?;
    context.response.changed = Some(true);
    context.response.deleted = Some(true);
    context.response.freed_bytes = Some(freed);
    Ok(())
}

fn deleted_already(context: &mut Context<'_>) {
    context.response.changed = Some(false);
    context.response.deleted = Some(false);
    context.response.freed_bytes = Some(0);
}
