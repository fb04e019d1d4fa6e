//! Acts on a workspace that may have a living monitor: halt, stop, kill, pause, resume, quarantine.
//!
//! ```text
//! lock -> observe -> admitted -> a monitor lives: asked, accepted, lock let go, done awaited
//!                              -> none lives:     done here, under the lock
//! ```
//!
//! `stop`, `kill` and `quarantine` get through while another act only waits for a guest: when a monitor
//! answers they wait a moment for the lock and then go to it without.

use crate::context::{Context, record_fault};
use crate::event_view::event_view;
use crate::faults;
use crate::interrupts::Interrupts;
use crate::monitor_client::{MonitorClient, MonitorError};
use crate::observe::{
    Observed, Repair, append, ask_status, end_process, end_vm, observe, read_workspace,
    socket_folder, sweep_run_folder, write_outcome,
};
use microagent_machine::admission::{Admission, Situation, WaitFor, admit};
use microagent_machine::capability::needed_by_verb;
use microagent_machine::facts::Lease as LeaseFact;
use microagent_machine::plan::Plan;
use microagent_machine::reconcile::{Outcome, Release, Verdict};
use microagent_machine::state::{QuarantineReason, QuarantinedVm, State, StopReason};
use microagent_machine::verb::{Freeze, Verb};
use microagent_os::clock;
use microagent_state::event_record::EventType;
use microagent_state::lease::Lease;
use microagent_state::record_store;
use microagent_state::runtime_record::{MonitorRecord, QuarantineRecord};
use microagent_state::workspace_lock::{LOCK_PATIENCE, URGENT_LOCK_PATIENCE, WorkspaceLock};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::monitor::response::MonitorAnswer;
use microagent_wire::supervisor::request::{Command, Expect};
use microagent_wire::supervisor::response::{EndedBy, Ending, SeverResult, Severed};
use std::time::Duration;

/// Until a monitor must have said that it has an intent on disk.
const ACCEPTED_LIMIT: Duration = Duration::from_secs(2);
/// Until a monitor tells whether it lives.
const STATUS_LIMIT: Duration = Duration::from_secs(2);
/// How often an act begins anew when its monitor goes away under it.
const TRIES_MAX: u32 = 3;
/// What a monitor may need beyond an act's own deadline.
const DONE_MARGIN: Duration = Duration::from_secs(15);
const HALT_LIMIT: Duration = Duration::from_secs(15);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// One of these acts.
pub(crate) fn act(context: &mut Context<'_>) -> Result<(), Fault> {
    let verb = verb_of(context)?;
    for lacking in needed_by_verb(verb) {
        if !context.backend.capabilities().has(*lacking) {
            let message = format!("`{}` has no {lacking} here", context.backend.name());
            return Err(Fault::new(FaultKind::Unsupported, message));
        }
    }
    // Without a workspace there is no lock to wait for.
    read_workspace(&context.paths)?;
    act_of(context, verb)
}

/// Ends the VM of a workspace that is there, as a part of another act.
pub(crate) fn kill(context: &mut Context<'_>) -> Result<(), Fault> {
    act_of(context, Verb::Kill)
}

fn act_of(context: &mut Context<'_>, verb: Verb) -> Result<(), Fault> {
    for _ in 0..TRIES_MAX {
        if try_act(context, verb)? == Tried::Done {
            return Ok(());
        }
    }
    let message = format!(
        "the monitor of `{}` went away during the act",
        context.name()
    );
    Err(Fault::new(FaultKind::Backend, message)
        .with_details(|details| details.component = Some("monitor".to_owned())))
}

fn verb_of(context: &Context<'_>) -> Result<Verb, Fault> {
    let freeze = context.request.options.freeze == Some(true);
    Ok(match context.request.command {
        Command::Halt => Verb::Halt,
        Command::Stop => Verb::Stop,
        Command::Kill => Verb::Kill,
        Command::Pause => Verb::Pause,
        Command::Resume => Verb::Resume,
        Command::Quarantine => Verb::Quarantine(if freeze { Freeze::Yes } else { Freeze::No }),
        other => {
            let message = format!("`{}` is no act of this kind", other.as_str());
            return Err(Fault::new(FaultKind::Internal, message));
        }
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Tried {
    Done,
    MonitorGone,
}

fn try_act(context: &mut Context<'_>, verb: Verb) -> Result<Tried, Fault> {
    let lock = take_lock(context, verb)?;
    let Some(lock) = lock else {
        return ask_monitor(context, verb, None);
    };
    let mut observed = observe(context, Repair::Allowed)?;
    context.response.workspace = Some(Box::new(observed.view(context)));
    if let Some(event) = &observed.event {
        context.response.event = Some(event_view(event));
        context.response.verdict = Some(observed.verdict.as_str().to_owned());
    }
    let admission = admit(verb, Situation::Present(observed.state));
    match admission {
        Admission::Refused(refusal) => {
            let state = Some(observed.state);
            Err(faults::of_refusal(verb, context.name(), refusal, state))
        }
        Admission::NothingToDo if observed.verdict == Verdict::Contradiction => {
            end_contradiction(context, verb, &observed)
        }
        Admission::NothingToDo => {
            // An end that the repair above has found is what was asked for.
            context.response.changed = Some(observed.event.is_some());
            context.response.ending = Some(no_ending());
            Ok(Tried::Done)
        }
        Admission::Do(Plan::ReleaseWithoutVm) => release(context, &mut observed),
        Admission::Do(Plan::MarkOnly) => mark_resting(context, &mut observed),
        Admission::Do(_) | Admission::Wait(WaitFor::Ready | WaitFor::End) => {
            if observed.monitor_answers() {
                if matches!(verb, Verb::Quarantine(_)) {
                    let marked = mark(context, &mut observed);
                    // What is suspected is cut off first of all; the monitor records it as well.
                    go_on_without_room(context, marked)?;
                }
                ask_monitor(context, verb, Some(lock))
            } else {
                without_monitor(context, verb, &mut observed)
            }
        }
    }
}

/// The lock; none when the act is urgent, another act holds the lock, and a monitor answers.
fn take_lock(context: &Context<'_>, verb: Verb) -> Result<Option<WorkspaceLock>, Fault> {
    let urgent = matches!(verb, Verb::Stop | Verb::Kill);
    if !urgent {
        return context.lock(LOCK_PATIENCE).map(Some);
    }
    match context.lock(URGENT_LOCK_PATIENCE) {
        Ok(lock) => Ok(Some(lock)),
        Err(fault) if fault.kind == FaultKind::Busy => {
            if ask_status(&context.paths, STATUS_LIMIT).is_some() {
                return Ok(None);
            }
            let left = LOCK_PATIENCE.saturating_sub(URGENT_LOCK_PATIENCE);
            context.lock(left).map(Some)
        }
        Err(fault) => Err(fault),
    }
}

fn ask_monitor(
    context: &mut Context<'_>,
    verb: Verb,
    lock: Option<WorkspaceLock>,
) -> Result<Tried, Fault> {
    let (op, limit) = op_of(context, verb);
    let mut request = MonitorRequest::new(op);
    request.request_id = Some(context.request_id.clone());
    request.initiator.clone_from(&context.request.initiator);
    request.note.clone_from(&context.request.note);
    request.expect = context
        .request
        .expect
        .filter(|expect| *expect != Expect::default());
    let Some(run) = socket_folder(&context.paths) else {
        let message = "the sockets of the workspace can't be reached";
        return Err(Fault::new(FaultKind::Denied, message));
    };
    let Ok(mut client) = MonitorClient::ask(&run.monitor_socket(), &request) else {
        return Ok(Tried::MonitorGone);
    };
    let uninterrupted: Option<&mut Interrupts> = None;
    let first = match client.answer(ACCEPTED_LIMIT, uninterrupted) {
        Ok(first) => first,
        Err(MonitorError::Silent { .. }) if verb == Verb::Kill => {
            return kill_over_the_monitor(context, lock);
        }
        Err(MonitorError::Closed | MonitorError::Io(_)) => return Ok(Tried::MonitorGone),
        Err(error) => return Err(Fault::from_error(FaultKind::Backend, &error)),
    };
    let mut answer = first;
    if answer.accepted == Some(true) {
        drop(lock);
        let limit = limit.saturating_add(DONE_MARGIN);
        answer = match client.answer(limit, Some(&mut context.interrupts)) {
            Ok(answer) => answer,
            Err(MonitorError::Closed | MonitorError::Io(_)) => return Ok(Tried::MonitorGone),
            Err(MonitorError::Interrupted(_)) => {
                let message = format!("the wait for the {} was interrupted", verb.as_str());
                return Err(
                    Fault::new(FaultKind::Interrupted, message).with_hint("the act itself goes on")
                );
            }
            Err(error) => return Err(Fault::from_error(FaultKind::Backend, &error)),
        };
    }
    take_answer(context, answer)?;
    Ok(Tried::Done)
}

fn take_answer(context: &mut Context<'_>, answer: MonitorAnswer) -> Result<(), Fault> {
    let response = &mut context.response;
    response.changed = answer.changed;
    if answer.workspace.is_some() {
        response.workspace = answer.workspace;
    }
    if answer.event.is_some() {
        response.event = answer.event;
    }
    response.ending = answer.ending;
    response.severed = answer.severed;
    response.warnings.extend(answer.warnings);
    match answer.error {
        Some(fault) => Err(*fault),
        None if answer.ok => Ok(()),
        None => Err(Fault::new(
            FaultKind::Backend,
            "the monitor refused without a reason",
        )),
    }
}

fn op_of(context: &Context<'_>, verb: Verb) -> (MonitorOp, Duration) {
    let given = context.request.options.timeout_ms;
    let limit = |otherwise| given.map_or(otherwise, Duration::from_millis);
    match verb {
        Verb::Halt => (MonitorOp::Halt { timeout_ms: given }, limit(HALT_LIMIT)),
        Verb::Stop => (MonitorOp::Stop { timeout_ms: given }, limit(STOP_LIMIT)),
        Verb::Pause => (MonitorOp::Pause {}, Duration::ZERO),
        Verb::Resume => (MonitorOp::Resume {}, Duration::ZERO),
        Verb::Quarantine(freeze) => {
            let freeze = freeze == Freeze::Yes;
            (MonitorOp::Quarantine { freeze }, Duration::ZERO)
        }
        _ => (MonitorOp::Kill {}, Duration::ZERO),
    }
}

/// A live state without a monitor that answers: only a kill can do something about it.
fn without_monitor(
    context: &mut Context<'_>,
    verb: Verb,
    observed: &mut Observed,
) -> Result<Tried, Fault> {
    if verb == Verb::Kill {
        return kill_recorded(context, observed);
    }
    let message = format!("the monitor of `{}` does not answer", context.name());
    Err(Fault::new(FaultKind::Backend, message)
        .with_hint("kill the workspace")
        .with_details(|details| details.component = Some("monitor".to_owned())))
}

fn kill_over_the_monitor(
    context: &mut Context<'_>,
    lock: Option<WorkspaceLock>,
) -> Result<Tried, Fault> {
    let _lock = match lock {
        Some(lock) => lock,
        None => context.lock(LOCK_PATIENCE)?,
    };
    let mut observed = observe(context, Repair::None)?;
    kill_recorded(context, &mut observed)
}

/// Kills VM and monitor through checked handles, and records the end.
fn kill_recorded(context: &mut Context<'_>, observed: &mut Observed) -> Result<Tried, Fault> {
    let runtime = &observed.runtime.value;
    let monitor = runtime.monitor.as_ref().map(MonitorRecord::identity);
    end_vm(context.backend, runtime)?;
    if let Some(Ok(identity)) = monitor {
        end_process(&identity, "monitor")?;
    }
    // Its lease is free once it is gone; a monitor that still lives must not be written over.
    let lease = Lease::take(&context.paths)
        .map_err(|error| Fault::from_error(FaultKind::Backend, &error))?;
    let outcome = Outcome {
        state: State::stopped(StopReason::Killed),
        release: Release::Released,
    };
    let workspace = observed.workspace.value.clone();
    let recorded = write_outcome(
        context,
        &workspace,
        &mut observed.runtime,
        outcome,
        None,
        EventType::Killed,
        |event| event.with("endedBy", "kill"),
    );
    let event = go_on_without_room(context, recorded)?;
    sweep_run_folder(&context.paths);
    drop(lease);
    settle(context, observed, outcome.state, event.as_ref());
    context.response.ending = Some(Ending {
        ended_by: EndedBy::Kill,
        guest_sync: None,
        duration_ms: 0,
    });
    Ok(Tried::Done)
}

fn end_contradiction(
    context: &mut Context<'_>,
    verb: Verb,
    observed: &Observed,
) -> Result<Tried, Fault> {
    let pid = observed.runtime.value.vm.as_ref().and_then(|vm| vm.pid);
    if verb != Verb::Kill {
        let message = format!(
            "`{}` is {}, but process {} of its VM lives",
            context.name(),
            observed.state.name(),
            pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string())
        );
        return Err(Fault::new(FaultKind::Integrity, message).with_hint("kill it"));
    }
    end_vm(context.backend, &observed.runtime.value)?;
    context.response.changed = Some(true);
    Ok(Tried::Done)
}

/// A quarantined workspace whose VM is gone is released.
fn release(context: &mut Context<'_>, observed: &mut Observed) -> Result<Tried, Fault> {
    let outcome = Outcome {
        state: State::stopped(StopReason::VmGone),
        release: Release::Released,
    };
    let mut workspace = observed.workspace.clone();
    workspace.value.release_quarantine();
    record_store::write(&context.paths.workspace_record(), &workspace)
        .map_err(|error| record_fault(&error))?;
    let event = write_outcome(
        context,
        &workspace.value,
        &mut observed.runtime,
        outcome,
        None,
        EventType::Released,
        |event| event,
    )?;
    settle(context, observed, outcome.state, Some(&event));
    context.response.ending = Some(no_ending());
    Ok(Tried::Done)
}

/// The lasting mark, before anything is cut.
fn mark(context: &Context<'_>, observed: &mut Observed) -> Result<(), Fault> {
    let note = context.request.note.clone();
    observed
        .workspace
        .value
        .mark_quarantined(clock::now(), note);
    record_store::write(&context.paths.workspace_record(), &observed.workspace)
        .map_err(|error| record_fault(&error))
}

fn mark_resting(context: &mut Context<'_>, observed: &mut Observed) -> Result<Tried, Fault> {
    mark(context, observed)?;
    let origin = context.origin();
    observed.runtime.value.quarantine = Some(QuarantineRecord {
        at: clock::now(),
        note: origin.note.clone(),
        initiator: origin.initiator_record(),
        frozen: false,
        active: true,
        released_at: None,
        severed: serde_json::Map::new(),
    });
    let outcome = Outcome {
        state: State::Quarantined {
            vm: QuarantinedVm::Gone,
            reason: QuarantineReason::Quarantined,
        },
        release: Release::Kept,
    };
    let requested = origin.event(EventType::QuarantineRequested);
    append(&context.paths, &observed.workspace.value, requested)?;
    let workspace = observed.workspace.value.clone();
    let event = write_outcome(
        context,
        &workspace,
        &mut observed.runtime,
        outcome,
        None,
        EventType::Quarantined,
        |event| event,
    )?;
    settle(context, observed, outcome.state, Some(&event));
    context.response.severed = Some(Severed {
        network: SeverResult::None,
        publish: SeverResult::None,
        mediation: SeverResult::None,
        sessions: SeverResult::None,
        frozen: false,
        vm_alive: false,
    });
    Ok(Tried::Done)
}

fn settle(
    context: &mut Context<'_>,
    observed: &mut Observed,
    state: State,
    event: Option<&microagent_state::event_record::Event>,
) {
    observed.state = state;
    observed.status = None;
    observed.facts.vm = microagent_machine::facts::VmFact::Gone;
    observed.facts.lease = LeaseFact::Free;
    context.response.changed = Some(true);
    context.response.event = event.map(event_view);
    context.response.workspace = Some(Box::new(observed.view(context)));
}

/// What was done stays done on a disk without room: that it is not recorded is a warning.
fn go_on_without_room<T>(
    context: &mut Context<'_>,
    recorded: Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    match recorded {
        Err(fault) if fault.kind == FaultKind::Resource => {
            context.warn(format!(
                "it is done and could not be recorded: {}",
                fault.message
            ));
            Ok(None)
        }
        recorded => recorded.map(Some),
    }
}

fn no_ending() -> Ending {
    Ending {
        ended_by: EndedBy::None,
        guest_sync: None,
        duration_ms: 0,
    }
}
