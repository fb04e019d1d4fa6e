//! What is so now: records, lease, monitor and VM are looked at, a crash's leftovers are judged by the
//! table in `machine`, and what the verdict says is done. The one place where a supervisor changes a
//! record without having been asked to.

use crate::backend::Backend;
use crate::context::{Context, not_found, record_fault};
use crate::control_group;
use crate::disk_sizes::DiskSizes;
use crate::faults;
use crate::interrupts::Interrupts;
use crate::monitor_client::MonitorClient;
use crate::view::{Beside, workspace_view};
use microagent_machine::facts::{Facts, Lease as LeaseFact, Monitor as MonitorFact, VmFact};
use microagent_machine::reconcile::{Freshness, Outcome, Release, Verdict, reconcile};
use microagent_machine::spec::MachineSpec;
use microagent_machine::state::State;
use microagent_os::process::{Found, ProcessHandle, ProcessIdentity, Signal};
use microagent_os::{clock, fs};
use microagent_state::event_log::{Durability, EventLog};
use microagent_state::event_record::{Event, EventType};
use microagent_state::facts_reader::{self, Observer};
use microagent_state::lease::{self, Lease};
use microagent_state::paths::RunPaths;
use microagent_state::record_store::{self, Stored};
use microagent_state::runtime_record::VmRecord;
use microagent_state::workspace_folder::{self, FolderState};
use microagent_state::{RuntimeRecord, WorkspacePaths, WorkspaceRecord};
use microagent_types::WorkspaceName;
use microagent_types::env_vars::EnvVar;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::monitor::response::MonitorAnswer;
use microagent_wire::supervisor::response::Workspace;
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

/// Until a monitor must have told its status.
const STATUS_LIMIT: Duration = Duration::from_secs(1);
/// Until a process that was killed must be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Observations of one act, when monitors come and go meanwhile.
const OBSERVATIONS_MAX: u32 = 3;

/// What was found, after what had to be done about it.
pub(crate) struct Observed {
    /// What the workspace is.
    pub(crate) workspace: Stored<WorkspaceRecord>,
    /// What its machine is.
    pub(crate) spec: MachineSpec,
    /// What it does.
    pub(crate) runtime: Stored<RuntimeRecord>,
    /// Its state: the monitor's word when one lives.
    pub(crate) state: State,
    /// What was judged.
    pub(crate) verdict: Verdict,
    /// The facts behind it.
    pub(crate) facts: Facts,
    /// The living monitor's status.
    pub(crate) status: Option<MonitorAnswer>,
    /// The event that a repair wrote.
    pub(crate) event: Option<Event>,
}

/// Whether what is found to be wrong may be put right: only under the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// It may.
    Allowed,
    /// It is only told.
    None,
}

impl Observed {
    /// Whether a monitor lives that answers.
    pub(crate) fn monitor_answers(&self) -> bool {
        self.status.is_some()
    }

    /// The workspace as callers see it.
    pub(crate) fn view(&self, context: &Context<'_>) -> Workspace {
        if let Some(workspace) = self
            .status
            .as_ref()
            .and_then(|status| status.workspace.clone())
        {
            return *workspace;
        }
        let log = EventLog::new(&context.paths, self.workspace.value.id);
        let last = log.last(1).ok().and_then(|mut events| events.pop());
        let beside = Beside {
            stale: self.verdict == Verdict::Unchanged(Freshness::Stale),
            vm_alive: self.facts.vm == VmFact::Alive,
            disk_sizes: DiskSizes::of(&self.spec),
            last_event: last.as_ref().map(crate::event_view::last_event_view),
            ..Beside::default()
        };
        workspace_view(
            &context.paths,
            &self.workspace.value,
            &self.spec,
            &self.runtime.value,
            self.state,
            beside,
            clock::now(),
        )
    }
}

/// Looks, judges, and repairs when that is allowed. Stage 12 but for the state table.
pub(crate) fn observe(context: &Context<'_>, repair: Repair) -> Result<Observed, Fault> {
    let mut last = None;
    for _ in 0..OBSERVATIONS_MAX {
        match observe_once(context, repair)? {
            Looked::Settled(observed) => return Ok(*observed),
            Looked::Moving(observed) => last = Some(observed),
        }
    }
    // It is finishing for longer than it should: what was found last is all there is.
    last.map(|observed| *observed)
        .ok_or_else(|| Fault::new(FaultKind::Internal, "an observation without a result"))
}

enum Looked {
    /// It stays as it is while the lock is held.
    Settled(Box<Observed>),
    /// A monitor is ending; another look will tell.
    Moving(Box<Observed>),
}

fn observe_once(context: &Context<'_>, repair: Repair) -> Result<Looked, Fault> {
    let paths = &context.paths;
    let workspace = read_workspace(paths)?;
    check_expected(context, &workspace.value)?;
    let integrity = |error: &dyn std::error::Error| Fault::from_error(FaultKind::Integrity, error);
    let spec = MachineSpec::try_from(&workspace.value.config).map_err(|error| integrity(&error))?;
    let asking = Asking::new(paths, context.backend);
    let observation = facts_reader::observe(paths, workspace.value.id, &asking)
        .map_err(|error| integrity(&error))?;
    let verdict = reconcile(observation.facts);
    let Some(runtime) = observation.record else {
        let why = observation.unreadable.unwrap_or_default();
        return lost_record(context, workspace, spec, observation.facts, repair, &why);
    };
    let state = runtime.value.state().map_err(|error| integrity(&error))?;
    let workspace = match repair {
        Repair::Allowed => with_files_delivered(context, workspace, &runtime.value)?,
        Repair::None => workspace,
    };
    let mut observed = Observed {
        workspace,
        spec,
        runtime,
        state,
        verdict,
        facts: observation.facts,
        status: asking.status.into_inner(),
        event: None,
    };
    check_expected_boot(context, &observed)?;
    match verdict {
        Verdict::Becomes(outcome) if repair == Repair::Allowed => {
            record_outcome(context, &mut observed, outcome)?;
        }
        Verdict::EndUnownedVm(outcome) if repair == Repair::Allowed => {
            end_vm(context.backend, &observed.runtime.value)?;
            record_outcome(context, &mut observed, outcome)?;
        }
        Verdict::ClearMaintenance if repair == Repair::Allowed => {
            end_vm(context.backend, &observed.runtime.value)?;
            observed.runtime.value.maintenance = None;
            let outcome = Outcome {
                state,
                release: Release::Kept,
            };
            record_outcome(context, &mut observed, outcome)?;
        }
        Verdict::MonitorFinishing => {
            // Its lease tells when it is done. What it wrote then is looked at anew.
            drop(Lease::take(paths));
            return Ok(Looked::Moving(Box::new(observed)));
        }
        Verdict::Becomes(_)
        | Verdict::EndUnownedVm(_)
        | Verdict::ClearMaintenance
        | Verdict::MonitorRestoresRecord
        | Verdict::RecordLost
        | Verdict::TrustMonitor
        | Verdict::Unchanged(_)
        | Verdict::Contradiction => {}
    }
    Ok(Looked::Settled(Box::new(observed)))
}

/// The workspace record, or why there is none.
pub(crate) fn read_workspace(paths: &WorkspacePaths) -> Result<Stored<WorkspaceRecord>, Fault> {
    let name = paths.name();
    match workspace_folder::observe(paths).map_err(|error| record_fault(&error))? {
        FolderState::Workspace => {}
        FolderState::BeingCreated => {
            let message = format!("`{name}` is being created by another process");
            return Err(Fault::new(FaultKind::Busy, message).with_hint("try again"));
        }
        FolderState::Absent | FolderState::Leftover => return Err(not_found(name)),
    }
    let workspace = record_store::read::<WorkspaceRecord>(&paths.workspace_record())
        .map_err(|error| record_fault(&error))?;
    workspace.ok_or_else(|| not_found(name))
}

fn check_expected(context: &Context<'_>, workspace: &WorkspaceRecord) -> Result<(), Fault> {
    let name = context.name();
    let expected = context.request.expect.and_then(|expect| expect.id);
    if expected.is_some_and(|id| id != workspace.id) {
        let message = format!("`{name}` is another workspace than the one named");
        return Err(Fault::new(FaultKind::NotFound, message));
    }
    if workspace.backend != context.backend.name() {
        let message = format!("`{name}` belongs to `{}`", workspace.backend);
        return Err(Fault::new(FaultKind::Unsupported, message));
    }
    let command = context.request.command;
    use microagent_wire::supervisor::request::Command;
    if workspace.deleting.is_some() && !matches!(command, Command::Delete | Command::Reconcile) {
        return Err(not_found(name));
    }
    Ok(())
}

fn check_expected_boot(context: &Context<'_>, observed: &Observed) -> Result<(), Fault> {
    let expected = context.request.expect.and_then(|expect| expect.boot_id);
    let found = observed.runtime.value.boot_id();
    match expected {
        Some(expected) if Some(expected) != found => {
            let message = format!("`{}` is in another boot than the one named", context.name());
            Err(
                Fault::new(FaultKind::WrongState, message).with_details(|details| {
                    details.state = Some(observed.state.name().as_str().to_owned());
                    details.boot_id = found;
                }),
            )
        }
        _ => Ok(()),
    }
}

/// Asks the monitor, once, and keeps what it said.
struct Asking<'a> {
    paths: &'a WorkspacePaths,
    backend: &'a dyn Backend,
    status: RefCell<Option<MonitorAnswer>>,
}

impl<'a> Asking<'a> {
    fn new(paths: &'a WorkspacePaths, backend: &'a dyn Backend) -> Self {
        Self {
            paths,
            backend,
            status: RefCell::new(None),
        }
    }
}

impl Observer for Asking<'_> {
    fn monitor(&self) -> MonitorFact {
        match ask_status(self.paths, STATUS_LIMIT) {
            Some(status) => {
                self.status.replace(Some(status));
                MonitorFact::Answers
            }
            None => MonitorFact::Silent,
        }
    }

    fn compute_system(&self, system_id: &str) -> VmFact {
        match self.backend.system_lives(system_id) {
            Some(true) => VmFact::Alive,
            Some(false) => VmFact::Gone,
            None => VmFact::Unknown,
        }
    }
}

/// The status of a living monitor; none when it does not tell it in time.
pub(crate) fn ask_status(paths: &WorkspacePaths, limit: Duration) -> Option<MonitorAnswer> {
    let run = socket_folder(paths)?;
    let request = MonitorRequest::new(MonitorOp::Status { probe: false });
    let mut client = MonitorClient::ask_within(&run.monitor_socket(), &request, limit).ok()?;
    let no_interrupts: Option<&mut Interrupts> = None;
    client
        .answer(limit, no_interrupts)
        .ok()
        .filter(|answer| answer.ok)
}

/// The folder of sockets by its short name.
pub(crate) fn socket_folder(paths: &WorkspacePaths) -> Option<RunPaths> {
    let runtime_folder = EnvVar::XdgRuntimeDir.read();
    paths
        .ensure_socket_folder(runtime_folder.as_deref().map(Path::new))
        .ok()
}

/// Ends a VM that nobody owns, through a checked handle or the service that runs it, and its helpers.
pub(crate) fn end_vm(backend: &dyn Backend, runtime: &RuntimeRecord) -> Result<(), Fault> {
    let system_id = runtime.vm.as_ref().and_then(|vm| vm.system_id.as_deref());
    if let Some(system_id) = system_id {
        backend
            .end_system(system_id)
            .map_err(|error| faults::of_backend(&error))?;
    }
    if let Some(Ok(Some(identity))) = runtime.vm.as_ref().map(VmRecord::identity) {
        end_process(&identity, "vm")?;
    }
    for helper in &runtime.helpers {
        if let Ok(identity) = helper.identity() {
            end_process(&identity, "helper")?;
        }
    }
    Ok(())
}

/// Ends a recorded process, if it is still that one.
pub(crate) fn end_process(identity: &ProcessIdentity, what: &'static str) -> Result<(), Fault> {
    let failed = |message: String| {
        let component = Some(what.to_owned());
        Fault::new(FaultKind::Backend, message)
            .with_details(|details| details.component = component)
    };
    match ProcessHandle::open(identity) {
        Found::Gone => Ok(()),
        Found::Unknown(error) => Err(Fault::new(
            FaultKind::Denied,
            format!("process {identity} can't be looked at, so it is not signalled"),
        )
        .with_cause(error.to_string())),
        Found::Alive(handle) => {
            let ended = handle
                .signal(Signal::Kill)
                .and_then(|_| handle.wait_end(KILL_LIMIT));
            match ended {
                Ok(true) => Ok(()),
                Ok(false) => Err(failed(format!(
                    "process {identity} is still there after SIGKILL"
                ))),
                Err(error) => Err(failed(format!("process {identity} was not ended"))
                    .with_cause(error.to_string())),
            }
        }
    }
}

fn record_outcome(
    context: &Context<'_>,
    observed: &mut Observed,
    outcome: Outcome,
) -> Result<(), Fault> {
    let detail = observed.runtime.value.detail().map(str::to_owned);
    observed.event = Some(write_outcome(
        context,
        &observed.workspace.value,
        &mut observed.runtime,
        outcome,
        detail,
        EventType::Reconciled,
        |event| {
            event
                .with("verdict", observed.verdict.as_str())
                .with("facts", format!("{:?}", observed.facts))
        },
    )?);
    observed.state = outcome.state;
    observed.facts.vm = VmFact::Gone;
    sweep_run_folder(&context.paths);
    Ok(())
}

/// Records where a workspace has come to rest without a monitor: the record, then the event.
pub(crate) fn write_outcome(
    context: &Context<'_>,
    workspace: &WorkspaceRecord,
    runtime: &mut Stored<RuntimeRecord>,
    outcome: Outcome,
    detail: Option<String>,
    kind: EventType,
    change: impl FnOnce(
        microagent_state::event_record::NewEvent,
    ) -> microagent_state::event_record::NewEvent,
) -> Result<Event, Fault> {
    let now = clock::now();
    let record = &mut runtime.value;
    if outcome.release == Release::Released
        && let Some(quarantine) = &mut record.quarantine
        && quarantine.active
    {
        quarantine.active = false;
        quarantine.released_at = Some(now);
    }
    record.enter(outcome.state, now, detail);
    record.pending = None;
    record.monitor = None;
    record.vm = None;
    record.helpers.clear();
    let boot_id = record.boot_id();
    if let (Some(group), Some(boot)) = (record.cgroup.take(), &boot_id) {
        control_group::end(group.as_path(), boot);
    }
    record.run_folder = None;
    record_store::write(&context.paths.runtime_record(), runtime)
        .map_err(|error| record_fault(&error))?;
    microagent_os::crash_point::pass("supervisor.outcome_recorded");
    let mut event = context.origin().event(kind).state(outcome.state);
    event.boot_id = boot_id;
    append(&context.paths, workspace, change(event))
}

/// Appends an event.
pub(crate) fn append(
    paths: &WorkspacePaths,
    workspace: &WorkspaceRecord,
    event: microagent_state::event_record::NewEvent,
) -> Result<Event, Fault> {
    EventLog::new(paths, workspace.id)
        .append(event, Durability::ByType)
        .map_err(|error| {
            let kind = if error.is_out_of_space() {
                FaultKind::Resource
            } else {
                FaultKind::Backend
            };
            Fault::from_error(kind, &error)
        })
}

/// Removes what a boot that has ended left of sockets. What can't go now goes at the next start.
pub(crate) fn sweep_run_folder(paths: &WorkspacePaths) {
    let folder = paths.run_folder();
    if fs::is_folder(&folder)
        && let Err(error) = fs::empty_folder(&folder)
    {
        tracing::warn!(%error, "the run folder was not emptied");
    }
    let runtime_folder = EnvVar::XdgRuntimeDir.read();
    if let Err(error) = paths.remove_socket_alias(runtime_folder.as_deref().map(Path::new)) {
        tracing::warn!(%error, "the alias of the run folder stays");
    }
}

fn lost_record(
    context: &Context<'_>,
    workspace: Stored<WorkspaceRecord>,
    spec: MachineSpec,
    facts: Facts,
    repair: Repair,
    why: &str,
) -> Result<Looked, Fault> {
    use microagent_wire::supervisor::request::Command;
    let leave = context.request.command == Command::Reconcile
        && context.request.options.repair.unwrap_or(true);
    if repair == Repair::None || !leave || lease_is_held(&context.paths) {
        let name: &WorkspaceName = context.name();
        let message = format!("the runtime record of `{name}` cannot be read");
        return Err(Fault::new(FaultKind::Integrity, message)
            .with_cause(why)
            .with_hint("reconcile it, or delete it"));
    }
    let path = context.paths.runtime_record();
    if fs::is_present(&path) {
        record_store::move_aside(&path).map_err(|error| faults::of_file(&error))?;
    }
    let runtime = Stored::new(RuntimeRecord::lost(0, clock::now()));
    record_store::write(&path, &runtime).map_err(|error| record_fault(&error))?;
    let state = runtime
        .value
        .state()
        .map_err(|error| Fault::from_error(FaultKind::Internal, &error))?;
    let event = context
        .origin()
        .event(EventType::RecordRepaired)
        .state(state)
        .with("why", why);
    let event = append(&context.paths, &workspace.value, event)?;
    Ok(Looked::Settled(Box::new(Observed {
        workspace,
        spec,
        runtime,
        state,
        verdict: Verdict::RecordLost,
        facts,
        status: None,
        event: Some(event),
    })))
}

/// What a monitor has recorded of the first boot's files, copied to where it stays: the monitor does not
/// write the workspace record, whoever holds the lock does.
fn with_files_delivered(
    context: &Context<'_>,
    mut workspace: Stored<WorkspaceRecord>,
    runtime: &RuntimeRecord,
) -> Result<Stored<WorkspaceRecord>, Fault> {
    if workspace.value.files_delivered.is_none() && runtime.files_delivered.is_some() {
        workspace.value.files_delivered = runtime.files_delivered;
        record_store::write(&context.paths.workspace_record(), &workspace)
            .map_err(|error| record_fault(&error))?;
    }
    Ok(workspace)
}

fn lease_is_held(paths: &WorkspacePaths) -> bool {
    lease::observe(paths).is_ok_and(|lease| lease == LeaseFact::Held)
}
