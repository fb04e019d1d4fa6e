//! A monitor from its first line to its last: the launch document is read, the steps of the boot are
//! taken, the loop runs, and what clients still wait for is written before the process ends.

use super::book::Book;
use super::boot::{BootPlan, Leased, Refused, Serving};
use super::event::Phase;
use super::owner::Owner;
use super::start_pipe::StartPipe;
use crate::backend::{Backend, ConfinementDemand};
use crate::launch_record::{
    DOCUMENT_BYTES_MAX, LOCK_NUMBER, LaunchDocument, START_PIPE_NUMBER, StartVerdict,
};
use crate::origin::Origin;
use microagent_machine::spec::{MachineSpec, NetworkMode};
use microagent_machine::state::State;
use microagent_os::process::{self, Signal, SignalWatch};
use microagent_state::event_chain::line_hash;
use microagent_state::event_record::EventType;
use microagent_state::record_store::{self, Stored};
use microagent_state::{RuntimeRecord, StateDirectory, WorkspaceRecord};
use microagent_types::WorkspaceId;
use microagent_types::env_vars::EnvVar;
use microagent_wire::fault::{Fault, FaultKind};
use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::LocalSet;

/// How long clients may take to read their last answers.
const LAST_ANSWERS_LIMIT: Duration = Duration::from_secs(1);

/// How long a thread that has nothing to do is kept.
const IDLE_THREAD_LIMIT: Duration = Duration::from_millis(1);

/// The exit status of a monitor that was not started by a supervisor.
const NOT_OURS: u8 = 2;

/// The `monitor` mode. Without the descriptors that a supervisor gives it ends at once.
pub(crate) fn run(backend: &dyn Backend) -> ExitCode {
    let Ok(pipe) = process::take_inherited(START_PIPE_NUMBER) else {
        return ExitCode::from(NOT_OURS);
    };
    process::share_heap();
    let Some(document) = read_document() else {
        return ExitCode::from(NOT_OURS);
    };
    // Nobody else touches the disks until this process is gone: held, and never looked at again.
    let lock = document
        .maintenance
        .map(|_| process::take_inherited(LOCK_NUMBER));
    if let Some(Err(_)) = lock {
        return ExitCode::from(NOT_OURS);
    }
    let signals = [Signal::Terminate, Signal::Interrupt, Signal::HangUp];
    let Ok(signals) = SignalWatch::install(&signals) else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A thread from before the monitor's own confinement is without it.
        .thread_keep_alive(IDLE_THREAD_LIMIT)
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::FAILURE;
    };
    let tasks = LocalSet::new();
    let pipe = StartPipe::new(File::from(pipe));
    runtime.block_on(async {
        tasks
            .run_until(Box::pin(monitor(backend, document, pipe, signals)))
            .await;
        // Answers that were given are written; everything else has been told to end.
        let _ = tokio::time::timeout(LAST_ANSWERS_LIMIT, tasks).await;
    });
    runtime.shutdown_background();
    drop(lock);
    ExitCode::SUCCESS
}

fn read_document() -> Option<LaunchDocument> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(DOCUMENT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

async fn monitor(
    backend: &dyn Backend,
    document: LaunchDocument,
    mut pipe: StartPipe,
    signals: SignalWatch,
) {
    let workspace = document.workspace.clone();
    tracing::info!(%workspace, boot = %document.boot_id, "the monitor begins");
    let origin = Origin {
        request_id: document.request_id.clone(),
        initiator: document.initiator.clone(),
        note: document.note.clone(),
    };
    pipe.phase(Phase::Lease);
    let begun = match begin(backend, document) {
        Ok(begun) => begun,
        // Nothing is written: whatever the record says is not about this monitor.
        Err(refused) => return tell(&mut pipe, refused),
    };
    let Begun {
        plan,
        mut book,
        leased,
    } = begun;
    match take_steps(&plan, &mut book, leased, &mut pipe).await {
        Ok(serving) => {
            pipe.serving();
            let owner = Owner::new(plan, book, origin, pipe, serving, signals);
            Box::pin(owner.run()).await;
        }
        Err(refused) => {
            record_refusal(&mut book, &origin, &refused).await;
            tell(&mut pipe, refused);
        }
    }
    tracing::info!(%workspace, "the monitor ends");
}

struct Begun<'a> {
    plan: BootPlan<'a>,
    book: Book,
    leased: Leased,
}

/// Phase 1: the records are read, the lease is taken, and the two are found to fit.
fn begin(backend: &dyn Backend, document: LaunchDocument) -> Result<Begun<'_>, Refused> {
    let refused = |fault| Refused::new(Phase::Lease, fault);
    let paths = StateDirectory::at(&document.state_dir).workspace(&document.workspace);
    let integrity = |message: &str| refused(Fault::new(FaultKind::Integrity, message));
    let workspace: WorkspaceRecord = read(&paths.workspace_record())
        .map_err(refused)?
        .ok_or_else(|| integrity("there is no workspace record"))?
        .value;
    let spec = MachineSpec::try_from(&workspace.config)
        .map_err(|error| refused(Fault::from_error(FaultKind::Integrity, &error)))?;
    let mac = (spec.network.mode != NetworkMode::Isolated).then(|| mac_of(workspace.id));
    let demand = ConfinementDemand::from_word(EnvVar::Confinement.read().as_deref());
    let mut plan = BootPlan {
        backend,
        document,
        paths,
        workspace,
        spec,
        boot_number: 0,
        mac,
        // A word that nobody knows was refused by the supervisor.
        confinement: demand.unwrap_or_default(),
    };
    let leased = Leased::take(&plan)?;
    // Only now: whoever held the lease before may have written last.
    let stored: Stored<RuntimeRecord> = read(&plan.paths.runtime_record())
        .map_err(refused)?
        .ok_or_else(|| integrity("there is no runtime record"))?;
    let state = stored
        .value
        .state()
        .map_err(|error| refused(Fault::from_error(FaultKind::Integrity, &error)))?;
    let (state, number) = boot_of(&plan.document, &stored.value, state)
        .ok_or_else(|| integrity("the record is not that of the boot to be started"))?;
    plan.boot_number = number;
    let book = Book::open(&plan, stored, state);
    Ok(Begun { plan, book, leased })
}

/// The state to begin from and the boot's number; none when the record speaks of another boot. A
/// maintenance boot has no number among the others.
fn boot_of(
    document: &LaunchDocument,
    record: &RuntimeRecord,
    state: State,
) -> Option<(State, u64)> {
    if document.maintenance.is_some() {
        let ours = record.maintenance.as_ref()?.boot_id == document.boot_id;
        let State::Resting(before) = state else {
            return None;
        };
        return ours.then_some((State::Starting { before }, 0));
    }
    let boot = record.boot.as_ref()?;
    let starting = matches!(state, State::Starting { .. });
    (starting && boot.id == document.boot_id).then_some((state, boot.number))
}

fn read<T>(path: &std::path::Path) -> Result<Option<Stored<T>>, Fault>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    record_store::read(path).map_err(|error| Fault::from_error(FaultKind::Integrity, &error))
}

/// `02` and the first five bytes of the hash of the workspace's id: the same at every boot.
fn mac_of(id: WorkspaceId) -> [u8; 6] {
    let hash = line_hash(id.to_string().as_bytes());
    let mut mac = [2; 6];
    mac[1..].copy_from_slice(&hash.as_bytes()[..5]);
    mac
}

async fn take_steps(
    plan: &BootPlan<'_>,
    book: &mut Book,
    leased: Leased,
    pipe: &mut StartPipe,
) -> Result<Serving, Refused> {
    let unknown = |error: std::io::Error| {
        Refused::new(Phase::Lease, Fault::from_error(FaultKind::Backend, &error))
    };
    let namespace = plan.document.pid_namespace;
    book.note_monitor(namespace).map_err(unknown)?;
    pipe.phase(Phase::Mediation);
    let checked = leased.check_mediation(plan).await?;
    pipe.phase(Phase::Publish);
    let claimed = checked.claim(plan).await?;
    pipe.phase(Phase::Sockets);
    let serving = claimed.serve(plan)?;
    book.note_serving(serving.run.folder(), &serving.published);
    book.note_network(
        plan.mac,
        &plan.backend.guest_addresses(&plan.spec.network.dns),
    );
    // Whoever comes after a crash finds who the monitor was. The launch goes on meanwhile: what it
    // records before the guest runs is written behind this.
    book.commit_later(Vec::new()).await;
    Ok(serving)
}

async fn record_refusal(book: &mut Book, origin: &Origin, refused: &Refused) {
    let State::Starting { before } = book.state() else {
        return;
    };
    book.enter(State::Resting(before), None);
    book.forget_processes();
    let event = match book.resting() {
        Some(_) => book.event_of(EventType::MaintenanceEnded, origin),
        None => book
            .event_of(EventType::StartRefused, origin)
            .state(book.state()),
    };
    let event = event
        .with("phase", refused.phase.as_str())
        .with("error", refused.fault.message.as_str());
    book.commit(vec![event]).await;
}

fn tell(pipe: &mut StartPipe, refused: Refused) {
    tracing::warn!(phase = refused.phase.as_str(), fault = %refused.fault, "the start is refused");
    pipe.verdict(StartVerdict {
        ok: false,
        boot_ms: None,
        ready_ms: None,
        warnings: Vec::new(),
        error: Some(Box::new(refused.fault)),
    });
}
