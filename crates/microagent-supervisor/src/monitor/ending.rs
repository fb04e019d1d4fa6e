//! The end of a VM: what is left of its words is taken, the end is judged, recorded and told, and only
//! then everything that belonged to the boot goes.
//!
//! ```text
//! VM gone -> console and control drained (1 s) -> judged -> recorded -> told -> sockets, helpers,
//!                                                                      run folder, lease go
//! ```
//!
//! The record comes before the sockets go, so a caller sees either a monitor that answers or a record
//! at rest.

use super::acts::{Act, Step};
use super::owner::{Owner, Stage, StartFailure};
use super::timers::Timer;
use crate::backend::VmExit;
use crate::event_view::event_view;
use crate::launch_record::StartVerdict;
use microagent_machine::ending::{
    Abandonment, Containment, Evidence, HaltAcknowledged, Intent, MemoryKill, classify,
};
use microagent_machine::facts::ShutdownCause;
use microagent_machine::reconcile::Release;
use microagent_machine::state::{FailReason, RestingState, State, StopReason};
use microagent_machine::verb::PendingVerb;
use microagent_os::{clock, fs};
use microagent_state::event_record::{Event, EventType, NewEvent};
use microagent_state::runtime_record::{ShutdownRecord, VmmExitRecord};
use microagent_types::env_vars::EnvVar;
use microagent_wire::fault::{Fault, FaultKind, OvertakenBy};
use microagent_wire::supervisor::response::{EndedBy, Ending};
use std::path::Path;
use std::time::Duration;

/// How long what is left of console and control connection may take to come.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

impl Owner<'_> {
    /// The VM is no more.
    pub(super) async fn vm_ended(&mut self, exit: VmExit) {
        if matches!(self.stage, Stage::Draining(_) | Stage::Done) {
            return;
        }
        self.died_in = self.phase();
        self.stage = Stage::Draining(exit);
        for timer in [
            Timer::Hello,
            Timer::Silence,
            Timer::Ready,
            Timer::Heartbeat,
            Timer::Act,
            Timer::Bound,
        ] {
            self.timers.clear(timer);
        }
        self.timers.set(Timer::Drain, DRAIN_LIMIT);
        self.go_on_draining().await;
    }

    /// Goes on to the record as soon as nothing more can come.
    pub(super) async fn go_on_draining(&mut self) {
        if !matches!(self.stage, Stage::Draining(_)) {
            return;
        }
        // A guest that is killed has no last words that would change anything.
        let killed = self.act.as_ref().is_some_and(Act::ends_vm)
            || self.abandonment.is_some()
            || self.start_failure.is_some();
        let said_all = killed || self.control.is_none() || self.guest_said_poweroff();
        if self.console_drained && said_all {
            self.finish().await;
        }
    }

    fn guest_said_poweroff(&self) -> bool {
        let shutdown = self.book.record().shutdown.as_ref();
        shutdown.is_some_and(|shutdown| shutdown.cause.is_some())
    }

    /// Judges, records, tells, and lets go.
    pub(super) async fn finish(&mut self) {
        if self.stage == Stage::Done {
            return;
        }
        let exit = match self.stage {
            Stage::Draining(exit) => Some(exit),
            _ => None,
        };
        self.stage = Stage::Done;
        if exit.is_some() && !self.was_ready && self.start_failure.is_none() {
            // The guest's own word, if it had one, has come by now.
            let name = &self.plan.workspace.name;
            let message = format!("the VM of `{name}` ended before its guest was ready");
            self.start_failure = Some(StartFailure {
                phase: self.died_in,
                reason: FailReason::BootFailed,
                fault: Fault::new(FaultKind::Guest, message).with_cause(self.how_it_died(exit)),
            });
        }
        // Connections end with their VM; their last bytes are delivered and their ends recorded first.
        Box::pin(self.connections_gone()).await;
        let counted = self.counted();
        self.book.append_later(counted).await;
        let act = self.act.take();
        let refused = self.machine.is_none() && act.is_none() && self.abandonment.is_none();
        let (state, release, detail) = self.judge(exit, act.as_ref(), refused);
        let ended_by = ended_by(act.as_ref(), exit, self.guest_said_poweroff());
        let event = self
            .record_end(
                state,
                release,
                detail,
                exit,
                act.as_ref(),
                ended_by,
                refused,
            )
            .await;
        microagent_os::crash_point::pass("monitor.end_recorded");
        self.tell_end(act, event.as_ref(), ended_by);
        self.wind_up().await;
    }

    fn judge(
        &self,
        exit: Option<VmExit>,
        act: Option<&Act>,
        refused: bool,
    ) -> (State, Release, Option<String>) {
        let before = match self.book.state() {
            State::Starting { before } => before,
            _ => RestingState::Prepared,
        };
        if refused && self.is_refusal() {
            return (State::Resting(before), Release::Kept, None);
        }
        let recorded = self.book.record().recorded(true).ok();
        let evidence = Evidence {
            intent: act.and_then(|act| match (act.verb, act.step) {
                (PendingVerb::Kill, _) => Some(Intent::Kill),
                (PendingVerb::Stop, Step::Killing) => Some(Intent::StopEscalated),
                (PendingVerb::Stop, _) => Some(Intent::Stop),
                _ => None,
            }),
            shutdown: recorded.and_then(|recorded| recorded.shutdown),
            containment: if matches!(self.book.state(), State::Quarantined { .. }) {
                Containment::Active
            } else {
                Containment::None
            },
            abandonment: self.abandonment,
            exit: recorded.and_then(|recorded| recorded.exit),
            halt_acknowledged: if self.guest.halt_acknowledged {
                HaltAcknowledged::Yes
            } else {
                HaltAcknowledged::No
            },
            memory_kill: if exit.is_some_and(|exit| exit.out_of_memory) {
                MemoryKill::Counted
            } else {
                MemoryKill::None
            },
        };
        let outcome = classify(evidence);
        if let Some(failure) = &self.start_failure
            && evidence.intent.is_none()
            && evidence.abandonment.is_none()
            && evidence.containment == Containment::None
        {
            return (
                State::failed(failure.reason),
                Release::Kept,
                Some(failure.fault.message.clone()),
            );
        }
        let died = outcome.state == State::failed(FailReason::VmDied);
        let detail = died.then(|| self.how_it_died(exit));
        (outcome.state, outcome.release, detail)
    }

    /// Whether what failed came before the VM was launched.
    fn is_refusal(&self) -> bool {
        self.start_failure
            .as_ref()
            .is_some_and(|failure| !failure.phase.is_after_launch())
    }

    fn how_it_died(&self, exit: Option<VmExit>) -> String {
        let status = match exit {
            Some(VmExit {
                signal: Some(signal),
                ..
            }) => format!("the VMM ended by signal {signal}"),
            Some(VmExit {
                code: Some(code), ..
            }) => format!("the VMM ended with status {code}"),
            _ => "the VMM ended".to_owned(),
        };
        match self.console.borrow().last_lines().pop() {
            Some(line) => format!("{status}; the last console line is: {line}"),
            None => status,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one record, each needed once"
    )]
    async fn record_end(
        &mut self,
        state: State,
        release: Release,
        detail: Option<String>,
        exit: Option<VmExit>,
        act: Option<&Act>,
        ended_by: EndedBy,
        refused: bool,
    ) -> Option<Event> {
        let released = release == Release::Released
            && self
                .book
                .record()
                .quarantine
                .as_ref()
                .is_some_and(|quarantine| quarantine.active);
        let record = self.book.record_mut();
        if released && let Some(quarantine) = &mut record.quarantine {
            quarantine.active = false;
            quarantine.released_at = Some(clock::now());
        }
        if !refused {
            let shutdown = record.shutdown.get_or_insert(ShutdownRecord {
                cause: None,
                clean: false,
                ended_by: None,
                vmm: None,
            });
            shutdown.ended_by = Some(ended_by_word(ended_by).to_owned());
            shutdown.vmm = exit.map(|exit| VmmExitRecord {
                code: exit.code,
                signal: exit.signal,
            });
        }
        self.book.enter(state, detail);
        let mut events = Vec::new();
        if released {
            events.push(self.book.event(EventType::Released));
        }
        events.push(self.end_event(state, exit, act, ended_by));
        self.book.forget_processes();
        self.book.commit(events).await
    }

    fn end_event(
        &self,
        state: State,
        exit: Option<VmExit>,
        act: Option<&Act>,
        ended_by: EndedBy,
    ) -> NewEvent {
        if self.is_maintenance() {
            return self.maintenance_ended(act, ended_by);
        }
        let kind = match (state, &self.start_failure) {
            (State::Resting(RestingState::Halted), _) => EventType::Halted,
            (State::Resting(RestingState::Stopped(StopReason::Killed)), _) => EventType::Killed,
            (
                State::Resting(RestingState::Stopped(
                    StopReason::Stopped | StopReason::StopEscalated,
                )),
                _,
            ) => EventType::Stopped,
            (_, Some(failure)) if failure.phase.is_after_launch() => EventType::StartFailed,
            (_, Some(_)) => EventType::StartRefused,
            _ => EventType::VmEnded,
        };
        let origin = act.map_or(&self.origin, |act| &act.origin);
        let mut event = self.book.event_of(kind, origin).state(state);
        if act.is_none() && self.start_failure.is_none() {
            event = self.book.event(kind).state(state);
        }
        if let Some(failure) = self.start_failure.as_ref() {
            event = event
                .with("phase", failure.phase.as_str())
                .with("error", failure.fault.message.as_str());
        }
        if let Some(exit) = exit {
            event = event.with("code", exit.code).with("signal", exit.signal);
        }
        if let Some(act) = act {
            let ending = Self::ending_of(act, ended_by);
            event = event
                .with("endedBy", ended_by_word(ended_by))
                .with("durationMs", ending.duration_ms);
        }
        event
    }

    fn maintenance_ended(&self, act: Option<&Act>, ended_by: EndedBy) -> NewEvent {
        let origin = act.map_or(&self.origin, |act| &act.origin);
        let mut event = self
            .book
            .event_of(EventType::MaintenanceEnded, origin)
            .with("endedBy", ended_by_word(ended_by));
        if let Some(failure) = self.start_failure.as_ref() {
            event = event
                .with("phase", failure.phase.as_str())
                .with("error", failure.fault.message.as_str());
        }
        event
    }

    fn tell_end(&mut self, act: Option<Act>, event: Option<&Event>, ended_by: EndedBy) {
        self.refuse_start_at_end(act.as_ref());
        let mut answer = self.done(true);
        answer.event = event.map(event_view);
        if let Some(mut act) = act {
            let clients = std::mem::take(&mut act.clients);
            answer.ending = Some(Self::ending_of(&act, ended_by));
            // A halt that found the VM ended by something else did not do what it was asked.
            let halted = act.verb != PendingVerb::Halt || self.guest_halted();
            if halted {
                for client in clients {
                    client.answer(answer.clone());
                }
            } else {
                let name = &self.plan.workspace.name;
                let message = format!("`{name}` ended before its halt was done");
                self.fail_clients(clients, &Fault::new(FaultKind::WrongState, message));
            }
        }
        answer.changed = Some(false);
        answer.ending.get_or_insert(Ending {
            ended_by,
            guest_sync: None,
            duration_ms: 0,
        });
        for client in std::mem::take(&mut self.late) {
            client.answer(answer.clone());
        }
        self.dismiss_waiting();
    }

    fn guest_halted(&self) -> bool {
        let shutdown = self
            .book
            .record()
            .recorded(true)
            .ok()
            .and_then(|recorded| recorded.shutdown);
        shutdown.is_some_and(|shutdown| shutdown.cause == ShutdownCause::Halt)
    }

    /// A start that nobody was told of is told now.
    fn refuse_start_at_end(&mut self, act: Option<&Act>) {
        let name = self.plan.workspace.name.clone();
        let fault = match (act, self.abandonment, self.start_failure.take()) {
            (Some(act), _, _) if act.ends_vm() => {
                let by = OvertakenBy {
                    verb: act.verb.as_str().to_owned(),
                    request_id: Some(act.origin.request_id.clone()),
                };
                let message = format!("the start of `{name}` was overtaken by a {}", by.verb);
                Fault::new(FaultKind::WrongState, message)
                    .with_details(|details| details.overtaken_by = Some(by))
            }
            (_, Some(Abandonment::StartInterrupted), _) => Fault::new(
                FaultKind::Interrupted,
                format!("the start of `{name}` was interrupted"),
            ),
            (_, Some(Abandonment::ClientGone), _) => Fault::new(
                FaultKind::Interrupted,
                format!("the client that `{name}` was started for is gone"),
            ),
            (_, None, Some(failure)) => {
                let phase = failure.phase;
                let fault = failure.fault.with_details(|details| {
                    details.phase = Some(phase.as_str().to_owned());
                });
                if phase.is_after_launch() {
                    self.with_console(fault)
                } else {
                    fault
                }
            }
            (_, None, None) => Fault::new(FaultKind::Guest, format!("the VM of `{name}` ended")),
        };
        self.refuse_start(fault);
    }

    /// Says that the start failed, unless its end was told before.
    pub(super) fn refuse_start(&mut self, fault: Fault) {
        self.pipe.verdict(StartVerdict {
            ok: false,
            boot_ms: None,
            ready_ms: None,
            warnings: Vec::new(),
            error: Some(Box::new(fault)),
        });
    }

    /// Everything that belonged to the boot goes. The lease goes last, when the owner is dropped.
    async fn wind_up(&mut self) {
        self.severed.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        self.held.published.clear();
        self.held.mediation = None;
        if let Some(vm) = &self.machine {
            vm.wind_up().await;
        }
        let folder = self.book.paths().run_folder();
        if let Err(error) = fs::empty_folder(&folder) {
            tracing::warn!(%error, "the run folder was not emptied");
        }
        let runtime_folder = EnvVar::XdgRuntimeDir.read();
        let removed = self
            .book
            .paths()
            .remove_socket_alias(runtime_folder.as_deref().map(Path::new));
        if let Err(error) = removed {
            tracing::warn!(%error, "the alias of the run folder stays");
        }
        self.held.disks.clear();
    }
}

fn ended_by(act: Option<&Act>, exit: Option<VmExit>, said_poweroff: bool) -> EndedBy {
    match (act.map(|act| (act.verb, act.step)), exit) {
        (_, None) => EndedBy::None,
        (Some((PendingVerb::Kill, _) | (PendingVerb::Stop, Step::Killing)), _) => EndedBy::Kill,
        (Some((PendingVerb::Stop, _)), _) => EndedBy::Sigterm,
        (_, Some(_)) if said_poweroff => EndedBy::Guest,
        _ => EndedBy::None,
    }
}

const fn ended_by_word(ended_by: EndedBy) -> &'static str {
    match ended_by {
        EndedBy::Guest => "guest",
        EndedBy::Sigterm => "sigterm",
        EndedBy::Kill => "kill",
        EndedBy::None => "none",
    }
}
