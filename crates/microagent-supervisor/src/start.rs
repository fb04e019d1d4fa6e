//! `start`: the intent is recorded, the monitor is made, and its verdict is awaited on the start pipe.
//!
//! ```text
//! admitted -> `starting` on disk -> monitor made -> serving: lock let go -> verdict -> answer
//! ```
//!
//! The monitor is made by running this same executable in another mode, as the first process of a
//! namespace of its own where the host has them, so that nothing of a VM outlives it.

use crate::backend::{ConfinementDemand, HostReady};
use crate::context::{Context, record_fault};
use crate::convert::{initramfs_of, kernel_of};
use crate::faults;
use crate::interrupts::Woken;
use crate::launch_record::{
    LOCK_NUMBER, LaunchDocument, REPORT_BYTES_MAX, START_PIPE_NUMBER, StartReport, StartVerdict,
};
use crate::monitor_client::{MonitorClient, MonitorError};
use crate::monitor_log;
use crate::observe::{
    Observed, Repair, append, ask_status, observe, read_workspace, socket_folder,
};
use crate::prepare::{check_file, check_spec, confinement_demand, publish_list};
use crate::view::absolute;
use microagent_machine::admission::{Admission, Situation, admit};
use microagent_machine::plan::Plan;
use microagent_machine::spec::{KernelPin, MachineSpec};
use microagent_machine::state::{RestingState, State};
use microagent_machine::verb::{PendingVerb, Verb};
use microagent_os::clock::{self, Deadline};
use microagent_os::local_socket::{self, Stream};
use microagent_os::process::{self, Child, Session, Signal, Spawn, Stream as ChildStream};
use microagent_os::{FsError, dirs, fs, host_pace, random};
use microagent_state::RuntimeRecord;
use microagent_state::event_chain::line_hash;
use microagent_state::event_record::EventType;
use microagent_state::paths::Rotation;
use microagent_state::record_store::{self, Stored};
use microagent_state::runtime_record::{BootRecord, MaintenanceRecord};
use microagent_state::workspace_lock::{LOCK_PATIENCE, WorkspaceLock};
use microagent_types::env_vars::EnvVar;
use microagent_types::{BootId, Timestamp};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::guest::boot_spec::MaintenanceAccess;
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, WaitFor};
use microagent_wire::supervisor::request::StartWait;
use microagent_wire::supervisor::response::Timings;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

/// Until the guest must be ready, unless told otherwise: with hardware virtualization, and emulated.
const READY_LIMIT_MS: [u64; 2] = [60_000, 300_000];
/// Until the monitor must serve its socket.
const SERVING_LIMIT: Duration = Duration::from_secs(10);
/// What a monitor may need beyond its own deadlines to end a VM and say so.
const VERDICT_MARGIN: Duration = Duration::from_secs(15);
/// Until a monitor that was told to give up must have.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(15);
/// Until a monitor tells its status after the verdict.
const STATUS_LIMIT: Duration = Duration::from_secs(2);
const KERNEL_BYTES_MAX: u64 = 256 << 20;
const INITRAMFS_BYTES_MAX: u64 = 64 << 20;
const READ_BYTES: usize = 16 * 1024;

/// Whether the workload of the workspace runs at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BootWorkload {
    /// It does.
    Runs,
    /// A command comes as a session in its place.
    LeftOut,
}

/// `start`.
pub(crate) fn start(context: &mut Context<'_>) -> Result<(), Fault> {
    boot(context, Verb::Start, BootWorkload::Runs)
}

/// Boots a workspace that rests.
pub(crate) fn boot(
    context: &mut Context<'_>,
    verb: Verb,
    workload: BootWorkload,
) -> Result<(), Fault> {
    let begun = clock::monotonic();
    let access = context.request.options.maintenance;
    let verb = if access.is_some() {
        Verb::Maintenance
    } else {
        verb
    };
    // Stages 9 and 10 come before the lock, so the record is read once without it.
    let unlocked = read_workspace(&context.paths)?;
    let spec = MachineSpec::try_from(&unlocked.value.config)
        .map_err(|error| Fault::from_error(FaultKind::Integrity, &error))?;
    let spec = effective_spec(context, spec)?;
    let host = check_spec(context, &spec)?;
    let lock = context.lock(LOCK_PATIENCE)?;
    let observed = observe(context, Repair::Allowed)?;
    context.response.workspace = Some(Box::new(observed.view(context)));
    match admit(verb, Situation::Present(observed.state)) {
        Admission::Do(Plan::BootForMaintenance) => {
            let State::Resting(before) = observed.state else {
                let message = "a maintenance boot was admitted in a live state";
                return Err(Fault::new(FaultKind::Internal, message));
            };
            let boot = Boot {
                spec,
                host,
                before,
                workload: BootWorkload::LeftOut,
                access,
                begun,
            };
            boot.perform(context, observed, lock)
        }
        Admission::Do(Plan::Boot { before } | Plan::RunInForeground { before }) => {
            let boot = Boot {
                access: None,
                spec,
                host,
                before,
                workload,
                begun,
            };
            boot.perform(context, observed, lock)
        }
        Admission::NothingToDo => {
            context.response.changed = Some(false);
            Ok(())
        }
        Admission::Wait(_) => {
            drop(lock);
            join(context, &host)
        }
        Admission::Refused(refusal) => {
            let state = Some(observed.state);
            if observed.workspace.value.is_quarantined() {
                let refused = context.origin().event(EventType::Refused);
                let refused = refused.with("verb", verb.as_str());
                append(&context.paths, &observed.workspace.value, refused)?;
            }
            let since = observed.runtime.value.state_since();
            let fault = faults::of_refusal(verb, context.name(), refusal, state);
            Err(fault.with_details(|details| details.since = Some(since)))
        }
        Admission::Do(other) => {
            let message = format!("a start was admitted as {other:?}");
            Err(Fault::new(FaultKind::Internal, message))
        }
    }
}

/// The spec with what this start has of its own.
fn effective_spec(context: &Context<'_>, mut spec: MachineSpec) -> Result<MachineSpec, Fault> {
    let options = &context.request.options;
    if let Some(cpus) = options.cpus {
        spec.cpus = cpus;
    }
    if let Some(memory) = options.memory_bytes {
        spec.memory = memory;
    }
    if let Some(publish) = &options.publish {
        spec.network.publish.extend(publish_list(publish));
    }
    if let Some(kernel) = &options.kernel
        && spec.kernel.pin == KernelPin::Default
    {
        spec.kernel = kernel_of(kernel.clone());
    }
    if let Some(initramfs) = &options.initramfs {
        spec.initramfs = initramfs_of(initramfs.clone());
    }
    check_file(&spec.kernel.path, "kernel", KERNEL_BYTES_MAX)?;
    check_file(&spec.initramfs.path, "initramfs", INITRAMFS_BYTES_MAX)?;
    let problems = spec
        .problems()
        .into_iter()
        .map(|problem| {
            let path = problem.path.replacen("config.", "options.", 1);
            microagent_wire::supervisor::request::Problem::new(path, problem.problem)
        })
        .collect();
    microagent_wire::supervisor::request::usage_fault(problems).map_or(Ok(spec), Err)
}

/// A boot that was admitted.
struct Boot {
    spec: MachineSpec,
    host: HostReady,
    before: RestingState,
    workload: BootWorkload,
    /// Set for a maintenance boot.
    access: Option<MaintenanceAccess>,
    begun: Instant,
}

impl Boot {
    fn perform(
        self,
        context: &mut Context<'_>,
        mut observed: Observed,
        lock: WorkspaceLock,
    ) -> Result<(), Fault> {
        self.check_pinned_kernel()?;
        let ready_limit_ms = context
            .request
            .options
            .ready_timeout_ms
            .unwrap_or(ready_limit_ms(&self.host));
        let boot_id = random::boot_id();
        match self.access {
            Some(access) => record_maintenance(context, &mut observed, boot_id, access)?,
            None => self.record_intent(context, &mut observed, boot_id, ready_limit_ms)?,
        }
        microagent_os::crash_point::pass("start.intent_recorded");
        let launched = self.make_monitor(context, &lock, boot_id, ready_limit_ms);
        let (child, pipe) = match launched {
            Ok(made) => made,
            Err(fault) => {
                self.record_refusal(context, &mut observed, &fault)?;
                return Err(fault);
            }
        };
        microagent_os::crash_point::pass("start.monitor_made");
        if context.request.options.client_bound == Some(true) {
            // After the last change of credentials, which would clear it.
            context.interrupts.end_with_parent();
        }
        let limit = Duration::from_millis(ready_limit_ms).saturating_add(VERDICT_MARGIN);
        let mut waiting = Waiting {
            pipe,
            received: Vec::new(),
            lock: Some(lock),
            deadline: Deadline::after(limit),
            served: Deadline::after(host_pace::limit(SERVING_LIMIT)),
            interrupted: None,
            phase: String::new(),
        };
        let outcome = waiting.verdict(context, &child);
        self.answer(context, waiting, outcome)
    }

    fn check_pinned_kernel(&self) -> Result<(), Fault> {
        let kernel = &self.spec.kernel;
        if kernel.pin == KernelPin::Default {
            return Ok(());
        }
        let bytes = fs::read_bounded(kernel.path.as_path(), KERNEL_BYTES_MAX)
            .map_err(|error| faults::of_file(&error))?;
        if line_hash(&bytes) == kernel.sha256 {
            return Ok(());
        }
        let message = format!("kernel `{}` is not the one that was pinned", kernel.path);
        Err(Fault::new(FaultKind::Integrity, message))
    }

    fn record_intent(
        &self,
        context: &Context<'_>,
        observed: &mut Observed,
        boot_id: BootId,
        ready_limit_ms: u64,
    ) -> Result<(), Fault> {
        let now = clock::now();
        let host_boot_id = process::host_boot_id()
            .map_err(|error| Fault::from_error(FaultKind::Backend, &error))?;
        let record = &mut observed.runtime.value;
        record.boot_count += 1;
        record.boot = Some(BootRecord {
            id: boot_id,
            number: record.boot_count,
            host_boot_id: host_boot_id.as_str().to_owned(),
            started_at: now,
            ready_at: None,
            ended_at: None,
            accelerator: Some(self.host.accelerator.as_str().to_owned()),
            engine_version: self.host.engine_version.clone(),
            memory_bytes: self.spec.memory,
            cpus: self.spec.cpus,
            kernel_sha256: self.spec.kernel.sha256,
            publish: Vec::new(),
            client_bound: context.request.options.client_bound.unwrap_or(false),
        });
        record.shutdown = None;
        record.guest = None;
        record.network = None;
        record.confinement = None;
        let deadline = Timestamp::from_unix_ms(now.unix_ms().saturating_add(ready_limit_ms));
        record.pending = Some(context.origin().pending(PendingVerb::Start, Some(deadline)));
        let state = State::Starting {
            before: self.before,
        };
        record.enter(state, now, None);
        let number = record.boot_count;
        write_runtime(context, &observed.runtime)?;
        let event = context
            .origin()
            .event(EventType::StartRequested)
            .state(state)
            .boot(boot_id)
            .with("boot", number);
        append(&context.paths, &observed.workspace.value, event)?;
        Ok(())
    }

    /// The monitor did not come to life: the state is what it was.
    fn record_refusal(
        &self,
        context: &Context<'_>,
        observed: &mut Observed,
        fault: &Fault,
    ) -> Result<(), Fault> {
        let state = State::Resting(self.before);
        let record = &mut observed.runtime.value;
        if record.maintenance.take().is_some() {
            write_runtime(context, &observed.runtime)?;
            let ended = context.origin().event(EventType::MaintenanceEnded);
            let ended = ended.with("error", fault.message.as_str());
            append(&context.paths, &observed.workspace.value, ended)?;
            return Ok(());
        }
        record.pending = None;
        record.enter(state, clock::now(), None);
        write_runtime(context, &observed.runtime)?;
        let event = context
            .origin()
            .event(EventType::StartRefused)
            .state(state)
            .with("error", fault.message.as_str());
        append(&context.paths, &observed.workspace.value, event)?;
        Ok(())
    }

    fn make_monitor(
        &self,
        context: &mut Context<'_>,
        lock: &WorkspaceLock,
        boot_id: BootId,
        ready_limit_ms: u64,
    ) -> Result<(Child, Stream), Fault> {
        let failed = |error: &dyn std::error::Error| {
            Fault::from_error(FaultKind::Backend, error)
                .with_details(|details| details.component = Some("monitor".to_owned()))
        };
        let run = context.paths.run_folder();
        dirs::ensure_private(&run).map_err(|error| faults::of_file(&error))?;
        let log = open_monitor_log(context).map_err(|error| faults::of_file(&error))?;
        let also_log = log.try_clone().map_err(|error| failed(&error))?;
        let executable = process::current_executable().map_err(|error| failed(&error))?;
        let (ours, theirs) = local_socket::pair().map_err(|error| failed(&error))?;
        let namespace = process::pid_namespace()
            .ok()
            .map(process::PidNamespace::inode);
        // From here on this process makes one child and no thread.
        let isolated = context.backend.isolate_next_child();
        if let Err(error) = &isolated {
            if confinement_demand()? == ConfinementDemand::Required {
                return Err(failed(error));
            }
            tracing::info!(%error, "the monitor gets no pid namespace of its own");
        }
        let document = self.document(
            context,
            boot_id,
            ready_limit_ms,
            namespace,
            isolated.is_ok(),
        );
        let mut command = monitor_command(executable);
        if self.access.is_some() {
            // Held by the monitor until its VM is gone.
            let lock = lock.duplicate().map_err(|error| faults::of_file(&error))?;
            command = command.descriptor(LOCK_NUMBER, lock);
        }
        let mut child = command
            .working_folder(&run)
            .stdin(ChildStream::Pipe)
            .stdout(ChildStream::File(log))
            .stderr(ChildStream::File(also_log))
            .descriptor(START_PIPE_NUMBER, theirs.into_descriptor())
            .start()
            .map_err(|error| failed(&error))?;
        let bytes = serde_json::to_vec(&document).expect("string keys only");
        if let Some(mut stdin) = child.stdin.take()
            && let Err(error) = stdin.write_all(&bytes)
        {
            // It has ended; the pipe tells the same in a moment.
            tracing::warn!(%error, "the monitor did not take its launch document");
        }
        Ok((child, ours))
    }

    fn document(
        &self,
        context: &Context<'_>,
        boot_id: BootId,
        ready_timeout_ms: u64,
        pid_namespace: Option<u64>,
        own_pid_namespace: bool,
    ) -> LaunchDocument {
        let options = &context.request.options;
        LaunchDocument {
            state_dir: absolute(context.directory.root()),
            workspace: context.name().clone(),
            boot_id,
            request_id: context.request_id.clone(),
            initiator: context.request.initiator.clone(),
            note: context.request.note.clone(),
            accelerator: self.host.accelerator.as_str().to_owned(),
            cpus: self.spec.cpus,
            memory_bytes: self.spec.memory,
            kernel: self.spec.kernel.path.clone(),
            kernel_sha256: self.spec.kernel.sha256,
            initramfs: self.spec.initramfs.path.clone(),
            publish: match self.access {
                Some(_) => Vec::new(),
                None => self.spec.network.publish.clone(),
            },
            ready_timeout_ms,
            client_bound: options.client_bound.unwrap_or(false),
            idle: self.workload == BootWorkload::LeftOut,
            pid_namespace,
            own_pid_namespace,
            maintenance: self.access,
            maintenance_disks: options.maintenance_disks.clone().unwrap_or_default(),
        }
    }

    fn answer(
        self,
        context: &mut Context<'_>,
        waiting: Waiting,
        outcome: Result<Told, Fault>,
    ) -> Result<(), Fault> {
        let told = outcome?;
        context.response.changed = Some(self.access.is_none());
        let verdict = match told {
            Told::Verdict(verdict) => verdict,
            Told::Launched => {
                refresh(context);
                return Ok(());
            }
            Told::Nothing => {
                let lock = waiting.lock;
                return Err(monitor_died(context, lock, &waiting.phase));
            }
        };
        context.response.warnings.extend(verdict.warnings);
        if let Some(fault) = verdict.error {
            drop(waiting.lock);
            refresh_from_records(context);
            // What never reached a VM has changed nothing.
            context.response.changed = context
                .response
                .workspace
                .as_ref()
                .map(|workspace| workspace.state != self.before.name().as_str());
            return Err(match waiting.interrupted {
                Some(signal) => interrupted(context, signal, *fault),
                None => *fault,
            });
        }
        let total = clock::monotonic().duration_since(self.begun);
        context.response.timings = Some(Timings {
            boot_ms: verdict.boot_ms.unwrap_or_default(),
            ready_ms: verdict.ready_ms.unwrap_or_default(),
            total_ms: clock::whole_ms(total),
        });
        refresh(context);
        Ok(())
    }
}

/// The monitor's log for one more boot; one that has grown too long is set aside first.
fn open_monitor_log(context: &Context<'_>) -> Result<std::fs::File, FsError> {
    monitor_log::bound(&context.paths)?;
    fs::open_append(&context.paths.monitor_log(Rotation::Current))
}

/// What a monitor's environment holds: what every child has, and the variables of ours that say which
/// VMM is meant and where sockets lie. The VMM and helpers get less.
fn monitor_command(executable: std::path::PathBuf) -> Spawn {
    let spawn = Spawn::new(executable)
        .argument("monitor")
        .variable("LANG", "C.UTF-8")
        .session(Session::New)
        .creation_mask(0o077);
    [
        EnvVar::Path,
        EnvVar::Log,
        EnvVar::Firecracker,
        EnvVar::Qemu,
        EnvVar::Kvm,
        EnvVar::Confinement,
        EnvVar::XdgRuntimeDir,
    ]
    .into_iter()
    .filter_map(|variable| Some((variable.name(), variable.read()?)))
    .chain(crash_variables())
    .fold(spawn, |spawn, (name, value)| spawn.variable(name, value))
}

/// A start under test names crash points for its monitor beside its own.
#[cfg(feature = "crash-points")]
fn crash_variables() -> impl Iterator<Item = (&'static str, String)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "variables of tests, which no shipped build reads"
    )]
    [
        (
            "MICROAGENT_TEST_MONITOR_CRASH_AT",
            "MICROAGENT_TEST_CRASH_AT",
        ),
        (
            "MICROAGENT_TEST_MONITOR_CRASH_LOG",
            "MICROAGENT_TEST_CRASH_LOG",
        ),
        ("MICROAGENT_TEST_MONITOR_FULL_AT", "MICROAGENT_TEST_FULL_AT"),
        (
            "MICROAGENT_TEST_MONITOR_FULL_LOG",
            "MICROAGENT_TEST_FULL_LOG",
        ),
    ]
    .into_iter()
    .filter_map(|(given, passed)| Some((passed, std::env::var(given).ok()?)))
}

#[cfg(not(feature = "crash-points"))]
fn crash_variables() -> impl Iterator<Item = (&'static str, String)> {
    std::iter::empty()
}

/// What a monitor has told at last.
enum Told {
    Verdict(StartVerdict),
    Launched,
    Nothing,
}

/// The wait for a monitor's word.
struct Waiting {
    pipe: Stream,
    received: Vec<u8>,
    lock: Option<WorkspaceLock>,
    deadline: Deadline,
    served: Deadline,
    interrupted: Option<Signal>,
    phase: String,
}

impl Waiting {
    fn verdict(&mut self, context: &mut Context<'_>, child: &Child) -> Result<Told, Fault> {
        loop {
            while let Some(report) = self.next_report() {
                if let Some(phase) = report.phase {
                    self.phase = phase;
                }
                if report.serving == Some(true) {
                    // Others may act on it now; the monitor admits them.
                    self.lock = None;
                }
                if report.launched == Some(true)
                    && context.request.options.wait == Some(StartWait::Launched)
                {
                    return Ok(Told::Launched);
                }
                if let Some(verdict) = report.verdict {
                    return Ok(Told::Verdict(verdict));
                }
            }
            if !self.receive(context, child)? {
                return Ok(Told::Nothing);
            }
        }
    }

    /// Reads more. False at the end of the pipe.
    fn receive(&mut self, context: &mut Context<'_>, child: &Child) -> Result<bool, Fault> {
        let deadline = match self.lock {
            Some(_) => self.served.min(self.deadline),
            None => self.deadline,
        };
        let woken = match self.interrupted {
            None => context.interrupts.wait(self.pipe.descriptor(), deadline),
            Some(_) => crate::interrupts::Interrupts::wait_regardless(
                self.pipe.descriptor(),
                deadline.remaining(),
            ),
        };
        match woken.map_err(|error| Fault::from_error(FaultKind::Backend, &error))? {
            Woken::Readable => {}
            Woken::Interrupted(signal) => {
                // The monitor ends its VM and says so; that is waited for.
                self.interrupted = Some(signal);
                self.deadline = Deadline::after(GIVE_UP_LIMIT);
                if let Err(error) = child.handle().signal(Signal::Interrupt) {
                    tracing::warn!(%error, "the monitor was not told to give up");
                }
                return Ok(true);
            }
            Woken::TimedOut => return Err(self.too_late(context, child)),
        }
        let mut buffer = [0; READ_BYTES];
        match self.pipe.read(&mut buffer) {
            Ok(0) | Err(_) => Ok(false),
            Ok(read) => {
                self.received.extend_from_slice(&buffer[..read]);
                Ok(self.received.len() <= REPORT_BYTES_MAX)
            }
        }
    }

    fn next_report(&mut self) -> Option<StartReport> {
        let end = self.received.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.received.drain(..=end).collect();
        // A line of a newer kind says nothing that must be known.
        Some(serde_json::from_slice(&line).unwrap_or_default())
    }

    /// The monitor hangs: it is ended, and its VM with it.
    fn too_late(&self, context: &Context<'_>, child: &Child) -> Fault {
        if let Err(error) = child.handle().signal(Signal::Kill) {
            tracing::error!(%error, "a monitor that hangs was not ended");
        }
        let log = absolute(&context.paths.monitor_log(Rotation::Current));
        let message = format!("the monitor of `{}` did not answer", context.name());
        let phase = self.phase.clone();
        Fault::new(FaultKind::Backend, message).with_details(|details| {
            details.component = Some("monitor".to_owned());
            details.waited_for = Some("the monitor's verdict".to_owned());
            details.phase = Some(phase);
            details.log_path = Some(log);
        })
    }
}

/// The intent of a maintenance boot stands beside the state, which stays.
fn record_maintenance(
    context: &Context<'_>,
    observed: &mut Observed,
    boot_id: BootId,
    access: MaintenanceAccess,
) -> Result<(), Fault> {
    let word = match access {
        MaintenanceAccess::Ro => "ro",
        MaintenanceAccess::Rw => "rw",
    };
    let record = &mut observed.runtime.value;
    record.maintenance_count += 1;
    record.maintenance = Some(MaintenanceRecord {
        boot_id,
        access: word.to_owned(),
        since: clock::now(),
    });
    write_runtime(context, &observed.runtime)?;
    let event = context
        .origin()
        .event(EventType::MaintenanceStarted)
        .boot(boot_id)
        .with("access", word);
    append(&context.paths, &observed.workspace.value, event)?;
    Ok(())
}

fn write_runtime(context: &Context<'_>, runtime: &Stored<RuntimeRecord>) -> Result<(), Fault> {
    record_store::write(&context.paths.runtime_record(), runtime)
        .map_err(|error| record_fault(&error))
}

fn monitor_died(context: &mut Context<'_>, lock: Option<WorkspaceLock>, phase: &str) -> Fault {
    let log = absolute(&context.paths.monitor_log(Rotation::Current));
    let name = context.name().clone();
    let last_words = last_lines(&context.paths.monitor_log(Rotation::Current));
    let mut fault = Fault::new(FaultKind::Backend, format!("the monitor of `{name}` died"))
        .with_details(|details| {
            details.component = Some("monitor".to_owned());
            details.phase = Some(phase.to_owned());
            details.log_path = Some(log);
        });
    for line in last_words {
        fault = fault.with_cause(line);
    }
    let lock = match lock {
        Some(lock) => Ok(lock),
        None => context.lock(LOCK_PATIENCE),
    };
    // What it left is put right at once; when that fails, the next act does it.
    if let Ok(_lock) = lock
        && let Ok(observed) = observe(context, Repair::Allowed)
    {
        context.response.workspace = Some(Box::new(observed.view(context)));
    }
    fault
}

const LAST_LINES_MAX: usize = 4;
const LOG_BYTES_MAX: u64 = 4 << 20;

fn last_lines(log: &std::path::Path) -> Vec<String> {
    let bytes = fs::read_bounded(log, LOG_BYTES_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES_MAX);
    lines[from..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

fn interrupted(context: &Context<'_>, signal: Signal, inner: Fault) -> Fault {
    let message = format!("the start of `{}` was interrupted", context.name());
    Fault::new(FaultKind::Interrupted, message)
        .with_cause(inner.message)
        .with_cause(format!("{signal:?}"))
}

/// The answer gets the workspace as the monitor tells it, else as the records do.
pub(crate) fn refresh(context: &mut Context<'_>) {
    match ask_status(&context.paths, STATUS_LIMIT).and_then(|status| status.workspace) {
        Some(workspace) => context.response.workspace = Some(workspace),
        None => refresh_from_records(context),
    }
}

fn refresh_from_records(context: &mut Context<'_>) {
    if let Ok(observed) = observe(context, Repair::None) {
        context.response.workspace = Some(Box::new(observed.view(context)));
    }
}

/// Until the guest must be ready where nobody said: an emulated one, or one on an emulated host, has
/// longer.
fn ready_limit_ms(host: &HostReady) -> u64 {
    let is_slow = host.accelerator.is_emulation() || host_pace::is_emulated();
    READY_LIMIT_MS[usize::from(is_slow)]
}

/// Another start is under way: its outcome is this one's.
fn join(context: &mut Context<'_>, host: &HostReady) -> Result<(), Fault> {
    let limit_ms = context
        .request
        .options
        .ready_timeout_ms
        .unwrap_or(ready_limit_ms(host));
    let request = MonitorRequest::new(MonitorOp::Wait {
        what: WaitFor::Ready,
        timeout_ms: Some(limit_ms),
    });
    let Some(run) = socket_folder(&context.paths) else {
        let message = "the sockets of the workspace can't be reached";
        return Err(Fault::new(FaultKind::Denied, message));
    };
    let limit = Duration::from_millis(limit_ms).saturating_add(VERDICT_MARGIN);
    let answer = MonitorClient::ask(&run.monitor_socket(), &request)
        .and_then(|mut client| client.answer(limit, Some(&mut context.interrupts)));
    match answer {
        Ok(answer) if answer.ok => {
            context.response.changed = Some(false);
            refresh(context);
            Ok(())
        }
        Ok(answer) => {
            refresh_from_records(context);
            Err(answer.error.map_or_else(
                || Fault::new(FaultKind::Backend, "the monitor refused to wait"),
                |fault| *fault,
            ))
        }
        Err(MonitorError::Interrupted(_)) => Err(Fault::new(
            FaultKind::Interrupted,
            "the wait for the start was interrupted",
        )),
        Err(error) => {
            refresh_from_records(context);
            Err(Fault::from_error(FaultKind::Backend, &error))
        }
    }
}
