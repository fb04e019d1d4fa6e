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
use super::control::{ConnectionNumber, ControlSender};
use super::event::{Event, EventSender, Phase};
use super::local_api::Client;
use super::mediation::ServedChannel;
use super::publish::ServedPort;
use super::rate::RateLimit;
use super::requests::Waiting;
use super::serial::SharedConsole;
use super::start_pipe::StartPipe;
use super::timers::{Timer, Timers};
use super::upkeep::SleepWatch;
use super::{boot, control, local_api};
use crate::backend::{Vm, VmEvent, VmExit};
use crate::origin::Origin;
use microagent_machine::ending::Abandonment;
use microagent_machine::state::FailReason;
use microagent_os::lock::LockFile;
use microagent_os::process::{Signal, SignalWatch};
use microagent_os::{clock, host_pace};
use microagent_state::event_record::EventType;
use microagent_state::lease::Lease;
use microagent_state::paths::Rotation;
use microagent_types::{HostPort, Timestamp};
use microagent_wire::fault::{Fault, FaultKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_local};

/// What guest work takes longer when it is emulated.
const EMULATION_FACTOR: u32 = 5;
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
    pub(super) queue: mpsc::Receiver<Event>,
    /// Events that came while only the ends of connections were taken.
    pub(super) deferred: VecDeque<Event>,
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
    pub(super) slept: SleepWatch,
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
            deferred: VecDeque::new(),
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
            slept: SleepWatch::new(clock::time_asleep()),
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
        self.schedule_upkeep();
        while self.stage != Stage::Done {
            let earliest = self.timers.earliest();
            let due = async {
                match earliest {
                    Some((_, at)) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            if let Some(event) = self.deferred.pop_front() {
                self.take(event).await;
                continue;
            }
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
                let limit = self.by_pace(super::launching::HELLO_LIMIT);
                self.start_timed_out(Phase::Hello, "the guest to say hello", limit);
            }
            Timer::Silence => {
                let limit = self.by_pace(super::guest_words::SILENCE_LIMIT);
                self.start_timed_out(Phase::Ready, "the guest to go on with its boot", limit);
            }
            Timer::Ready => {
                let limit = Duration::from_millis(self.plan.document.ready_timeout_ms);
                self.start_timed_out(self.phase(), "the guest to be ready", limit);
            }
            Timer::Heartbeat => self.guest_fell_silent().await,
            Timer::Act => self.act_timer_fired().await,
            Timer::Bound if self.is_maintenance() => self.end_maintenance().await,
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
            Timer::Upkeep => self.keep_up(),
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

    // --- small questions ---

    pub(super) fn by_pace(&self, limits: [Duration; 2]) -> Duration {
        limits[usize::from(self.is_emulated())]
    }

    fn is_emulated(&self) -> bool {
        self.plan.document.accelerator == "emulation" || host_pace::is_emulated()
    }

    /// A limit on guest work, on this accelerator.
    pub(super) fn guest_limit(&self, limit: Duration) -> Duration {
        if self.is_emulated() {
            limit * EMULATION_FACTOR
        } else {
            limit
        }
    }

    pub(super) fn since_run(&self) -> Option<u64> {
        let passed = clock::monotonic().duration_since(self.guest.ran_at?);
        Some(clock::whole_ms(passed))
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
