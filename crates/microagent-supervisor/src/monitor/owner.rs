//! The loop that owns a VM: it takes one event or one timer at a time, decides, records, and only then
//! acts. Everything else in the monitor reports to it.
//!
//! ```text
//!              hello           ready             the VM ended        recorded
//!  Launching ───────> Booting ───────> Running ──────────────> Draining ──> done
//!      └─ AwaitingHello ─┘                 any stage ──────────────┘
//! ```
//!
//! The stage says how far the boot is; the state of the workspace is in the book. What an act does is in
//! `acts`, what a client may ask otherwise in `requests`, how the end is judged in `ending`.

use super::acts::Act;
use super::book::Book;
use super::boot::{BootPlan, Serving};
use super::boot_spec::{Fresh, boot_spec, hexadecimal};
use super::control::{ConnectionNumber, ControlEnd, ControlSender};
use super::event::{Event, EventSender, LaunchFailure, Phase};
use super::local_api::Client;
use super::mediation::ServedChannel;
use super::publish::ServedPort;
use super::rate::RateLimit;
use super::requests::Waiting;
use super::serial::{INPUT_PIECES_MAX, SharedConsole};
use super::start_pipe::StartPipe;
use super::timers::{Timer, Timers};
use super::{boot, control, local_api, serial};
use crate::backend::{Launched, Severs, Vm, VmEvent, VmExit};
use crate::faults;
use crate::launch_record::StartVerdict;
use crate::origin::Origin;
use microagent_machine::ending::Abandonment;
use microagent_machine::state::{FailReason, RunningReason, State};
use microagent_os::lock::LockFile;
use microagent_os::process::{Signal, SignalWatch};
use microagent_os::{clock, random};
use microagent_state::event_record::EventType;
use microagent_state::lease::Lease;
use microagent_state::paths::Rotation;
use microagent_state::runtime_record::{ExitRecord, GuestRecord, ShutdownRecord};
use microagent_types::{HostPort, SignalName, Timestamp};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::generation::{self, GENERATION, GENERATION_MIN};
use microagent_wire::guest::control::{
    EndCause, GuestMessage, HaltPhase, Hello, HostMessage, Ready,
};
use microagent_wire::limits::GUEST_TEXT_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_local};

/// Until the guest says hello: with hardware virtualization, and emulated.
const HELLO_LIMIT: [Duration; 2] = [Duration::from_secs(20), Duration::from_mins(3)];
/// The longest silence of a guest that boots: likewise.
const SILENCE_LIMIT: [Duration; 2] = [Duration::from_secs(15), Duration::from_mins(1)];
/// Three heartbeats.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(6);
/// What guest work takes longer when it is emulated.
const EMULATION_FACTOR: u32 = 5;
/// Until the VMM must have let the guest run.
const RUN_LIMIT: Duration = Duration::from_secs(2);
/// Until a killed VMM must be gone.
pub(super) const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long a VM that was started for a client goes without a session that is bound to it: after
/// ready, and after the guest has ended such a session.
pub(super) const BOUND_LIMIT: Duration = Duration::from_secs(10);
/// How long events that need no sync at once may wait for one.
const SYNC_LIMIT: Duration = Duration::from_millis(200);
/// Between two tries of writing records to a disk that is full.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Connections over published ports that get records of their own in a minute; more are counted.
const PUBLISH_RECORDS_MAX: u32 = 100;
/// How long a monitor that the host tells to end waits for a halt.
const HOST_HALT_LIMIT: Duration = Duration::from_secs(10);
/// And for the VMM after SIGTERM.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How far the boot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Phases 5 to 7 run as a task.
    Launching,
    /// The guest runs and has not said hello.
    AwaitingHello,
    /// It has its boot spec.
    Booting,
    /// It is ready.
    Running,
    /// The VM is gone; what is left of its words is taken.
    Draining(VmExit),
    /// Everything is recorded.
    Done,
}

/// Why a start failed after the launch, or was refused before it.
#[derive(Debug, Clone)]
pub(super) struct StartFailure {
    pub(super) phase: Phase,
    pub(super) reason: FailReason,
    pub(super) fault: Fault,
}

/// What is known of the guest beyond the record.
#[derive(Debug, Default)]
pub(super) struct GuestFacts {
    pub(super) generation: u32,
    pub(super) resume: String,
    pub(super) silent: bool,
    pub(super) unreachable: bool,
    pub(super) last_heartbeat: Option<Timestamp>,
    pub(super) ran_at: Option<Instant>,
    pub(super) boot_ms: Option<u64>,
    pub(super) halt_acknowledged: bool,
}

/// A session that is open.
#[derive(Debug)]
pub(super) struct OpenSession {
    pub(super) ends_vm: bool,
}

/// The control connection in use.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) number: ConnectionNumber,
    pub(super) sender: ControlSender,
}

/// What is held for as long as the VM may live.
pub(super) struct Held {
    /// Let go when everything else is gone.
    _lease: Lease,
    pub(super) disks: Vec<LockFile>,
    pub(super) published: Vec<ServedPort>,
    pub(super) mediation: Option<ServedChannel>,
}

/// The monitor of one VM.
pub(super) struct Owner<'a> {
    pub(super) plan: BootPlan<'a>,
    pub(super) book: Book,
    pub(super) origin: Origin,
    pub(super) events: EventSender,
    queue: mpsc::Receiver<Event>,
    pub(super) timers: Timers,
    pub(super) pipe: StartPipe,
    pub(super) stage: Stage,
    pub(super) machine: Option<Rc<dyn Vm>>,
    pub(super) control: Option<Control>,
    pub(super) console: SharedConsole,
    pub(super) typed: Option<mpsc::Sender<Vec<u8>>>,
    pub(super) act: Option<Act>,
    pub(super) late: Vec<Client>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) sessions: BTreeMap<u64, OpenSession>,
    pub(super) sessions_opened: u64,
    pub(super) severed: watch::Sender<bool>,
    pub(super) guest: GuestFacts,
    pub(super) abandonment: Option<Abandonment>,
    pub(super) start_failure: Option<StartFailure>,
    pub(super) severed_mediation: bool,
    pub(super) console_drained: bool,
    pub(super) publish_records: RateLimit,
    pub(super) unrecorded: BTreeSet<(HostPort, u64)>,
    pub(super) published_counted: u64,
    pub(super) host_ends: bool,
    pub(super) was_ready: bool,
    pub(super) died_in: Phase,
    pub(super) tasks: Vec<AbortHandle>,
    pub(super) held: Held,
}

impl<'a> Owner<'a> {
    /// Begins to serve and to launch.
    pub(super) fn new(
        plan: BootPlan<'a>,
        book: Book,
        origin: Origin,
        pipe: StartPipe,
        serving: Serving,
        signals: SignalWatch,
    ) -> Self {
        let (events, queue) = EventSender::new_queue();
        let mut timers = Timers::default();
        let ready_limit = Duration::from_millis(plan.document.ready_timeout_ms);
        timers.set(Timer::Ready, ready_limit);
        let api = local_api::serve(serving.monitor_socket, events.clone());
        let guest = control::serve(serving.control, events.clone(), serving.console.clone());
        let tasks = vec![
            spawn_local(api).abort_handle(),
            spawn_local(guest).abort_handle(),
            spawn_local(forward_signals(signals, events.clone())).abort_handle(),
        ];
        spawn_local(boot::launch(serving.preparation, events.clone()));
        let severed = watch::Sender::new(false);
        let channel = plan.spec.mediation.clone().zip(serving.mediation);
        let mediation = channel.map(|(channel, listener)| {
            let (severed, events) = (severed.subscribe(), events.clone());
            ServedChannel::serve(channel, listener, serving.mediation_error, severed, events)
        });
        Self {
            plan,
            book,
            origin,
            events,
            queue,
            timers,
            pipe,
            stage: Stage::Launching,
            machine: None,
            control: None,
            console: serving.console,
            typed: None,
            act: None,
            late: Vec::new(),
            waiting: Vec::new(),
            sessions: BTreeMap::new(),
            sessions_opened: 0,
            severed,
            guest: GuestFacts::default(),
            abandonment: None,
            start_failure: None,
            severed_mediation: false,
            console_drained: false,
            publish_records: RateLimit::a_minute(PUBLISH_RECORDS_MAX, clock::monotonic()),
            unrecorded: BTreeSet::new(),
            published_counted: 0,
            host_ends: false,
            was_ready: false,
            died_in: Phase::Launch,
            tasks,
            held: Held {
                _lease: serving.lease,
                disks: serving.disks,
                published: serving
                    .published
                    .into_iter()
                    .map(ServedPort::bound)
                    .collect(),
                mediation,
            },
        }
    }

    /// Runs until the end of the VM is recorded and everything of the boot is gone.
    pub(super) async fn run(mut self) {
        while self.stage != Stage::Done {
            let earliest = self.timers.earliest();
            let due = async {
                match earliest {
                    Some((_, at)) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {
                    if let Some((timer, _)) = earliest {
                        self.timers.clear(timer);
                        self.timer_fired(timer).await;
                    }
                }
                event = self.queue.recv() => match event {
                    Some(event) => self.take(event).await,
                    // The loop holds a sender itself.
                    None => return,
                },
            }
            if self.book.record_error().is_some() {
                self.timers.set_if_idle(Timer::Retry, RETRY_PAUSE);
            }
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::PhaseBegun(phase) => self.pipe.phase(phase),
            Event::Confined(report) => {
                self.book.note_confinement(self.plan.confinement, &report);
            }
            Event::Launched(Ok(launched)) => self.launched(launched).await,
            Event::Launched(Err(failure)) => self.launch_failed(failure).await,
            Event::GuestSaid {
                number,
                message,
                sender,
            } => self.guest_said(number, message, sender).await,
            Event::ControlEnded { number, end } => self.control_ended(number, end).await,
            Event::FilesSent(Err(error)) => {
                let fault = Fault::new(
                    FaultKind::Backend,
                    "the files of the first boot were not sent",
                )
                .with_cause(error);
                self.fail_start(Phase::BootSpec, FailReason::BootFailed, fault);
            }
            Event::FilesSent(Ok(())) => {}
            Event::Vm(Some(VmEvent::HelperEnded { name, severs })) => {
                self.helper_ended(name, severs).await;
            }
            Event::Vm(Some(VmEvent::Ended(exit))) => self.vm_ended(exit).await,
            Event::Vm(None) => {
                if !matches!(self.stage, Stage::Draining(_) | Stage::Done) {
                    self.vm_ended(VmExit::default()).await;
                }
            }
            Event::ConsoleDrained => {
                self.console_drained = true;
                self.go_on_draining().await;
            }
            Event::Asked { request, client } => self.asked(request, client).await,
            Event::SessionEnded(end) => self.session_ended(end).await,
            Event::Mediated(happened) => self.mediated(happened).await,
            Event::Published(connection) => self.published(connection).await,
            Event::GuestSynced(outcome) => self.guest_synced(outcome).await,
            Event::Signalled(signal) => self.signalled(signal).await,
        }
    }

    async fn timer_fired(&mut self, timer: Timer) {
        match timer {
            Timer::Hello => {
                let limit = self.by_accelerator(HELLO_LIMIT);
                self.start_timed_out(Phase::Hello, "the guest to say hello", limit);
            }
            Timer::Silence => {
                let limit = self.by_accelerator(SILENCE_LIMIT);
                self.start_timed_out(Phase::Ready, "the guest to go on with its boot", limit);
            }
            Timer::Ready => {
                let limit = Duration::from_millis(self.plan.document.ready_timeout_ms);
                self.start_timed_out(self.phase(), "the guest to be ready", limit);
            }
            Timer::Heartbeat => self.guest_fell_silent().await,
            Timer::Act => self.act_timer_fired().await,
            Timer::Bound => self.client_gone().await,
            Timer::Drain => self.finish().await,
            Timer::Sync | Timer::Retry => {
                let counted = self.counted();
                if !counted.is_empty() {
                    self.book.append(counted).await;
                }
                // An empty job syncs what was left to the batch and tries again what was kept.
                self.book.append(Vec::new()).await;
            }
            Timer::Waiting => self.waited_enough(),
        }
    }

    // --- the boot ---

    async fn launched(&mut self, launched: Launched) {
        let Launched {
            vm,
            console,
            events,
            engine_version,
        } = launched;
        self.watch_vm(console, events);
        self.machine = Some(vm.clone());
        if self.is_given_up() {
            self.kill_vm();
            return;
        }
        self.book.note_vm(&*vm, engine_version);
        let pid = self.book.record().vm.as_ref().and_then(|vm| vm.pid);
        let started = self
            .book
            .event_of(EventType::VmStarted, &self.origin)
            .with("pid", pid);
        // Identity and event are on disk before the guest's first instruction, so that whoever comes
        // after a crash knows that there was a VM, and which.
        self.book.commit(vec![started]).await;
        microagent_os::crash_point::pass("monitor.vm_recorded");
        self.guest.ran_at = Some(clock::monotonic());
        let ran = tokio::time::timeout(RUN_LIMIT, vm.run()).await;
        match ran {
            Ok(Ok(())) => {
                self.stage = Stage::AwaitingHello;
                self.timers
                    .set(Timer::Hello, self.by_accelerator(HELLO_LIMIT));
                self.pipe.launched();
                self.pipe.phase(Phase::Hello);
            }
            Ok(Err(error)) => {
                let fault = faults::of_backend(&error);
                self.fail_start(Phase::Launch, FailReason::BootFailed, fault);
            }
            Err(_) => {
                self.start_timed_out(Phase::Launch, "the VMM to let the guest run", RUN_LIMIT);
            }
        }
    }

    fn watch_vm(
        &mut self,
        console: crate::backend::Console,
        mut vm_events: mpsc::Receiver<VmEvent>,
    ) {
        let (typed, pieces) = mpsc::channel(INPUT_PIECES_MAX);
        self.typed = Some(typed);
        spawn_local(serial::type_into(console.input, pieces));
        let (events, log) = (self.events.clone(), self.console.clone());
        spawn_local(async move {
            serial::drain(console.output, log).await;
            events.send(Event::ConsoleDrained).await;
        });
        let events = self.events.clone();
        spawn_local(async move {
            while let Some(event) = vm_events.recv().await {
                events.send(Event::Vm(Some(event))).await;
            }
            events.send(Event::Vm(None)).await;
        });
    }

    async fn launch_failed(&mut self, failure: LaunchFailure) {
        let fault = faults::of_backend(&failure.error);
        if self.start_failure.is_none() {
            self.start_failure = Some(StartFailure {
                phase: failure.phase,
                reason: FailReason::BootFailed,
                fault,
            });
        }
        self.finish().await;
    }

    /// Gives up a boot that has begun: the VM is ended, and its end is recorded as this failure.
    pub(super) fn fail_start(&mut self, phase: Phase, reason: FailReason, fault: Fault) {
        if self.start_failure.is_none() && self.is_starting() {
            tracing::warn!(phase = phase.as_str(), %fault, "the start failed");
            self.start_failure = Some(StartFailure {
                phase,
                reason,
                fault,
            });
            self.kill_vm();
        }
    }

    fn start_timed_out(&mut self, phase: Phase, waited_for: &str, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let name = &self.plan.workspace.name;
        let fault = Fault::new(
            FaultKind::Timeout,
            format!("`{name}` did not get ready: waited {limit_ms} ms for {waited_for}"),
        )
        .with_details(|details| {
            details.waited_for = Some(waited_for.to_owned());
            details.deadline_ms = Some(limit_ms);
        });
        self.fail_start(phase, FailReason::GuestUnresponsive, fault);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Launching => Phase::Launch,
            Stage::AwaitingHello => Phase::Hello,
            _ => Phase::Ready,
        }
    }

    /// Whether nobody has been told yet that the guest is ready.
    pub(super) fn is_starting(&self) -> bool {
        !self.was_ready && self.stage != Stage::Done
    }

    /// Whether the VM is to end before it was ever ready.
    fn is_given_up(&self) -> bool {
        self.act.as_ref().is_some_and(Act::ends_vm)
            || self.abandonment.is_some()
            || self.start_failure.is_some()
    }

    pub(super) fn kill_vm(&mut self) {
        if let Some(vm) = &self.machine
            && !matches!(self.stage, Stage::Draining(_) | Stage::Done)
        {
            if let Err(error) = vm.kill() {
                tracing::error!(%error, "the VM was not killed");
            }
            self.timers.set_if_idle(Timer::Act, KILL_LIMIT);
        }
    }

    // --- the guest ---

    async fn guest_said(
        &mut self,
        number: ConnectionNumber,
        message: GuestMessage,
        sender: ControlSender,
    ) {
        if let GuestMessage::Hello(hello) = message {
            return self.guest_greeted(number, hello, sender).await;
        }
        if self
            .control
            .as_ref()
            .is_none_or(|control| control.number != number)
        {
            // It must say hello first.
            return;
        }
        if self.stage == Stage::Booting {
            self.timers
                .set(Timer::Silence, self.by_accelerator(SILENCE_LIMIT));
        } else {
            self.guest_is_heard().await;
        }
        match message {
            GuestMessage::Hello(_) | GuestMessage::Progress { .. } => {}
            GuestMessage::Unsupported { of } => {
                tracing::warn!(of, "the guest does not know a message");
            }
            GuestMessage::FilesDelivered { entries, bytes } => {
                self.files_delivered(entries, bytes).await;
            }
            GuestMessage::Ready(ready) => self.guest_ready(ready).await,
            GuestMessage::Failed {
                step,
                object,
                message,
                errno,
            } => {
                let fault = Fault::new(
                    FaultKind::Guest,
                    format!(
                        "the guest could not boot: {}: {}",
                        plain(&object),
                        plain(&message)
                    ),
                )
                .with_details(|details| {
                    details.os_error = errno.map(|code| microagent_wire::fault::OsError {
                        code,
                        name: step.as_str().to_owned(),
                    });
                });
                self.fail_start(Phase::Ready, FailReason::BootFailed, fault);
            }
            GuestMessage::Heartbeat { .. } => {
                self.guest.last_heartbeat = Some(clock::now());
            }
            GuestMessage::Exited {
                code,
                signal,
                message,
                started_at: _,
                ended_at,
            } => self.workload_exited(code, signal, message, ended_at).await,
            GuestMessage::Halting {
                phase,
                cause,
                clean,
                id: _,
            } => self.guest_halts(phase, cause, clean).await,
        }
    }

    async fn guest_greeted(
        &mut self,
        number: ConnectionNumber,
        hello: Hello,
        sender: ControlSender,
    ) {
        let first = self.stage == Stage::AwaitingHello;
        let known = hello.resume.as_deref() == Some(self.guest.resume.as_str());
        let again = known && matches!(self.stage, Stage::Booting | Stage::Running);
        if !first && !again {
            tracing::warn!("a hello out of place was ignored");
            return;
        }
        self.control = Some(Control {
            number,
            sender: sender.clone(),
        });
        if !first {
            return;
        }
        let theirs = (hello.min_generation, hello.generation);
        let Some(spoken) = generation::common((GENERATION_MIN, GENERATION), theirs) else {
            let message = format!(
                "the host speaks generation {GENERATION_MIN} to {GENERATION}, the guest {} to {}",
                hello.min_generation, hello.generation
            );
            sender.send(&HostMessage::Refuse {
                message: message.clone(),
            });
            let fault = Fault::new(FaultKind::Unsupported, message)
                .with_details(|details| details.guest_generation = Some(hello.generation));
            self.fail_start(Phase::Hello, FailReason::BootFailed, fault);
            return;
        };
        self.guest.generation = spoken;
        self.guest.boot_ms = self.since_run();
        self.stage = Stage::Booting;
        self.timers.clear(Timer::Hello);
        self.timers
            .set(Timer::Silence, self.by_accelerator(SILENCE_LIMIT));
        self.pipe.phase(Phase::BootSpec);
        self.send_boot_spec(&sender, spoken);
        self.book.record_mut().guest = Some(GuestRecord {
            generation: hello.generation,
            init_version: plain(&hello.init_version),
            features: hello
                .features
                .iter()
                .take(64)
                .map(|word| plain(word))
                .collect(),
            boot_id: self.plan.document.boot_id,
        });
        let greeted = self
            .book
            .event(EventType::GuestHello)
            .with("generation", hello.generation)
            .with("initVersion", plain(&hello.init_version))
            .with("kernel", plain(&hello.kernel));
        self.book.append_later(vec![greeted]).await;
        self.pipe.phase(Phase::Ready);
    }

    fn send_boot_spec(&mut self, sender: &ControlSender, generation: u32) {
        let fresh = Fresh {
            resume: hexadecimal(&random::bytes::<16>()),
            time_unix_us: clock::unix_us(),
            entropy: random::bytes(),
            generation,
        };
        self.guest.resume.clone_from(&fresh.resume);
        let files = super::first_boot::files(&self.plan);
        let spec = boot_spec(
            self.plan.backend,
            &self.plan.spec,
            &self.plan.document,
            self.plan.mac,
            files.as_deref().map(super::first_boot::announcement),
            fresh,
        );
        if !sender.send(&HostMessage::Boot(Box::new(spec))) {
            tracing::warn!("the boot spec was not sent");
            return;
        }
        if let Some(files) = files {
            let (sender, events) = (sender.clone(), self.events.clone());
            spawn_local(async move {
                let sent = super::first_boot::send(files, sender).await;
                events.send(Event::FilesSent(sent)).await;
            });
        }
    }

    async fn guest_ready(&mut self, ready: Ready) {
        if self.stage != Stage::Booting || self.is_given_up() {
            return;
        }
        self.stage = Stage::Running;
        self.was_ready = true;
        self.timers.clear(Timer::Silence);
        self.timers.clear(Timer::Ready);
        let now = clock::now();
        let ready_ms = self.since_run();
        self.book.enter(State::Running(RunningReason::Ready), None);
        self.book.record_mut().pending = None;
        if let Some(boot) = &mut self.book.record_mut().boot {
            boot.ready_at = Some(now);
        }
        let mut events = Vec::new();
        if let Some(bytes) = ready.grown_bytes {
            events.push(self.book.event(EventType::DiskGrown).with("bytes", bytes));
        }
        if let Some(pid) = ready.pid {
            let started = self.book.event(EventType::WorkloadStarted);
            events.push(started.with("pid", pid));
        }
        let event = self.book.event_of(EventType::Ready, &self.origin);
        events.push(
            event
                .state(self.book.state())
                .with("readyMs", ready_ms)
                .with("guestUptimeMs", ready.uptime_ms),
        );
        self.book.commit(events).await;
        self.pipe.verdict(StartVerdict {
            ok: true,
            boot_ms: self.guest.boot_ms,
            ready_ms,
            warnings: ready
                .warnings
                .iter()
                .take(64)
                .map(|text| plain(text))
                .collect(),
            error: None,
        });
        self.timers
            .set(Timer::Heartbeat, self.guest_limit(HEARTBEAT_LIMIT));
        if self.plan.document.client_bound {
            self.timers.set(Timer::Bound, BOUND_LIMIT);
        }
        self.serve_published();
        self.admit_waiting().await;
    }

    async fn files_delivered(&mut self, entries: u64, bytes: u64) {
        super::first_boot::remove(&self.plan);
        let delivered = self
            .book
            .event(EventType::FilesDelivered)
            .with("entries", entries)
            .with("bytes", bytes);
        self.book.append_later(vec![delivered]).await;
    }

    async fn workload_exited(
        &mut self,
        code: Option<i32>,
        signal: Option<String>,
        message: Option<String>,
        ended_at: Timestamp,
    ) {
        let signal_number = signal
            .as_deref()
            .and_then(|name| name.parse::<SignalName>().ok())
            .map(|name| i32::from(name.number()));
        let message = message.map(|text| plain(&text));
        let event = self
            .book
            .event(EventType::WorkloadExited)
            .with("code", code)
            .with("signal", signal.map(|name| plain(&name)));
        self.book.record_mut().exit = Some(ExitRecord {
            code,
            signal: signal_number,
            message,
            ended_at,
            boot_id: self.plan.document.boot_id,
        });
        // Recorded before it is acted upon.
        self.book.commit(vec![event]).await;
    }

    async fn guest_halts(
        &mut self,
        phase: HaltPhase,
        cause: Option<EndCause>,
        clean: Option<bool>,
    ) {
        match phase {
            HaltPhase::Acknowledged => self.halt_acknowledged().await,
            HaltPhase::Poweroff => {
                let cause = cause.map(|cause| match cause {
                    EndCause::Halt => "halt",
                    EndCause::Workload => "workload",
                    EndCause::Guest => "guest",
                });
                self.book.record_mut().shutdown = Some(ShutdownRecord {
                    cause: cause.map(str::to_owned),
                    clean: clean.unwrap_or(false),
                    ended_by: None,
                    vmm: None,
                });
                // On disk before the guest is told that it may go: afterwards its word is all there is.
                self.book.commit(Vec::new()).await;
                if let Some(control) = &self.control {
                    control.sender.send(&HostMessage::Bye);
                }
            }
            _ => {}
        }
    }

    async fn guest_is_heard(&mut self) {
        if self.stage != Stage::Running {
            return;
        }
        self.timers
            .set(Timer::Heartbeat, self.guest_limit(HEARTBEAT_LIMIT));
        if self.guest.silent {
            self.guest.silent = false;
            let back = self.book.event(EventType::GuestBack);
            self.book.append_later(vec![back]).await;
        }
    }

    async fn guest_fell_silent(&mut self) {
        if self.stage == Stage::Running && !self.book.state().is_frozen() && !self.guest.silent {
            self.guest.silent = true;
            let silent = self.book.event(EventType::GuestSilent);
            self.book.append_later(vec![silent]).await;
        }
    }

    async fn control_ended(&mut self, number: ConnectionNumber, end: ControlEnd) {
        if self
            .control
            .as_ref()
            .is_some_and(|control| control.number == number)
        {
            self.control = None;
        }
        if end == ControlEnd::Misbehaved {
            let event = self.book.event(EventType::GuestMisbehaved);
            self.book.append_later(vec![event]).await;
        }
        self.go_on_draining().await;
    }

    async fn helper_ended(&mut self, name: &'static str, severs: Severs) {
        if matches!(self.stage, Stage::Draining(_) | Stage::Done) {
            return;
        }
        let state = self.book.state();
        match severs {
            Severs::Vsock => {
                self.guest.unreachable = true;
                let detail = format!("`{name}` ended: the guest can't be reached; stop or kill it");
                self.book
                    .record_mut()
                    .enter(state, clock::now(), Some(detail));
            }
            Severs::Network => {
                if let Some(network) = &mut self.book.record_mut().network {
                    network.error = Some(format!("`{name}` ended"));
                }
            }
        }
        let died = self.book.event(EventType::HelperDied).with("name", name);
        self.book.commit(vec![died]).await;
        if severs == Severs::Vsock {
            let fault = Fault::new(
                FaultKind::Backend,
                format!("`{name}` ended during the boot"),
            )
            .with_details(|details| details.component = Some(name.to_owned()));
            self.fail_start(self.phase(), FailReason::BootFailed, fault);
        }
    }

    // --- from outside ---

    async fn signalled(&mut self, signal: Signal) {
        tracing::info!(?signal, "a signal came");
        if self.is_starting() {
            if self.abandonment.is_none() {
                self.abandonment = Some(Abandonment::StartInterrupted);
                self.kill_vm();
            }
            return;
        }
        self.end_for_the_host(HOST_HALT_LIMIT).await;
    }

    /// The client that the VM was bound to is gone.
    pub(super) async fn client_gone(&mut self) {
        if self.abandonment.is_some() || matches!(self.stage, Stage::Draining(_) | Stage::Done) {
            return;
        }
        self.abandonment = Some(Abandonment::ClientGone);
        let requested = self
            .book
            .event(EventType::KillRequested)
            .with("cause", "client_gone");
        self.book.append(vec![requested]).await;
        self.kill_vm();
    }

    /// Begins to expect heartbeats again.
    pub(super) fn restart_heartbeat(&mut self) {
        self.timers
            .set(Timer::Heartbeat, self.guest_limit(HEARTBEAT_LIMIT));
    }

    // --- small questions ---

    fn by_accelerator(&self, limits: [Duration; 2]) -> Duration {
        limits[usize::from(self.is_emulated())]
    }

    fn is_emulated(&self) -> bool {
        self.plan.document.accelerator == "emulation"
    }

    /// A limit on guest work, on this accelerator.
    pub(super) fn guest_limit(&self, limit: Duration) -> Duration {
        if self.is_emulated() {
            limit * EMULATION_FACTOR
        } else {
            limit
        }
    }

    fn since_run(&self) -> Option<u64> {
        let passed = clock::monotonic().duration_since(self.guest.ran_at?);
        u64::try_from(passed.as_millis()).ok()
    }

    /// Events that may wait for a sync were queued.
    pub(super) fn sync_soon(&mut self) {
        self.timers.set_if_idle(Timer::Sync, SYNC_LIMIT);
    }

    /// The fault with what every failure of a guest should say: where to read on.
    pub(super) fn with_console(&self, fault: Fault) -> Fault {
        let log = crate::view::absolute(&self.book.paths().serial_log(Rotation::Current));
        let lines = self.console.borrow().last_lines();
        fault.with_details(|details| {
            details.log_path = Some(log);
            details.last_console_lines = lines;
        })
    }
}

async fn forward_signals(mut signals: SignalWatch, events: EventSender) {
    while let Ok(signal) = signals.next().await {
        events.send(Event::Signalled(signal)).await;
    }
}

/// Text of a guest for records: one line, bounded.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    plain.truncate(plain.floor_char_boundary(GUEST_TEXT_BYTES_MAX));
    plain
}
