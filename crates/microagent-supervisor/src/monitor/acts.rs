//! Acts on a living VM: halt, stop, kill, pause, resume. Each is admitted by the state table, records
//! its intent, says `accepted`, and only then touches the VM; its answer comes when the outcome is on
//! disk. One act is under way at a time; a stronger one takes over, an equal one joins, a weaker one is
//! refused.

use super::local_api::Client;
use super::owner::{KILL_LIMIT, Owner, STOP_LIMIT, Stage};
use super::requests::{Waiting, WaitingFor};
use super::timers::Timer;
use super::{event::Event, sessions};
use crate::backend::{BackendError, LocalFuture, Vm};
use crate::faults;
use crate::origin::Origin;
use microagent_machine::admission::{Admission, Situation, WaitFor, admit};
use microagent_machine::plan::{GuestSync as SyncPlan, Plan};
use microagent_machine::state::{RunningReason, State};
use microagent_machine::verb::{Arbitration, PendingVerb, Verb, arbitrate};
use microagent_os::{clock, host_pace, random};
use microagent_state::event_record::{EventType, NewEvent};
use microagent_types::Timestamp;
use microagent_wire::fault::{Fault, FaultKind, OvertakenBy};
use microagent_wire::frame::FrameKind;
use microagent_wire::guest::control::HostMessage;
use microagent_wire::guest::service::{Service, ServiceRequest};
use microagent_wire::monitor::response::MonitorAnswer;
use microagent_wire::supervisor::response::{Ending, GuestSync};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// How long a halt waits for the guest unless told otherwise.
pub(super) const HALT_LIMIT: Duration = Duration::from_secs(15);
/// How long the guest may take to write back its mounts before a stop.
const SYNC_LIMIT: Duration = Duration::from_secs(2);
/// How long the VMM may take to stop or start the vCPUs.
const PAUSE_LIMIT: Duration = Duration::from_secs(5);

/// An act under way.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) verb: PendingVerb,
    pub(super) origin: Origin,
    pub(super) clients: Vec<Client>,
    pub(super) begun: Instant,
    pub(super) limit: Duration,
    pub(super) step: Step,
    pub(super) sync: Option<GuestSync>,
}

/// How far an act is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The guest shuts down.
    Halting,
    /// The guest writes back before it is signalled.
    Syncing,
    /// SIGTERM was sent.
    Terminating,
    /// SIGKILL was sent.
    Killing,
}

impl Act {
    /// Whether it ends the VM without asking the guest.
    pub(super) fn ends_vm(&self) -> bool {
        matches!(self.verb, PendingVerb::Stop | PendingVerb::Kill)
    }

    fn overtaken_by(&self) -> OvertakenBy {
        OvertakenBy {
            verb: self.verb.as_str().to_owned(),
            request_id: Some(self.origin.request_id.clone()),
        }
    }
}

/// What a client asks to be done.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) verb: Verb,
    pub(super) pending: PendingVerb,
    pub(super) origin: Origin,
    pub(super) limit: Duration,
}

impl Owner<'_> {
    /// Admits an act or says why not.
    pub(super) async fn act(&mut self, wanted: Wanted, client: Client) {
        if matches!(self.stage, Stage::Draining(_) | Stage::Done) {
            // It is ending as it is; the client hears how when that is recorded.
            client.answer(MonitorAnswer::accepted());
            self.late.push(client);
            return;
        }
        // Whoever acts has taken charge of the VM.
        self.timers.clear(Timer::Bound);
        if let Some(act) = &mut self.act {
            match arbitrate(act.verb, wanted.pending) {
                Arbitration::Joins => {
                    client.answer(MonitorAnswer::accepted());
                    act.clients.push(client);
                    return;
                }
                Arbitration::Overtakes => self.overtake(&wanted),
                Arbitration::Refused => {
                    let verb = wanted.verb.as_str();
                    let under_way = act.verb.as_str();
                    let message = format!("no {verb} while a {under_way} is under way");
                    let by = act.overtaken_by();
                    client.refuse(
                        Fault::new(FaultKind::Busy, message)
                            .with_details(|details| details.overtaken_by = Some(by)),
                    );
                    return;
                }
            }
        }
        if self.is_maintenance() {
            return self.act_in_maintenance(wanted, client).await;
        }
        let state = self.book.state();
        match admit(wanted.verb, Situation::Present(state)) {
            Admission::Do(plan) => self.perform(plan, wanted, client).await,
            Admission::NothingToDo => {
                client.answer(MonitorAnswer::accepted());
                let answer = self.done(false);
                client.answer(answer);
            }
            Admission::Wait(WaitFor::Ready) => {
                let limit = wanted.limit;
                self.wait_for_ready(Waiting::new(WaitingFor::Act(wanted), client, limit));
            }
            Admission::Wait(WaitFor::End) => {
                self.begin_halt(wanted, client, Announce::Silently).await;
            }
            Admission::Refused(refusal) => {
                let name = &self.plan.workspace.name;
                client.refuse(faults::of_refusal(wanted.verb, name, refusal, Some(state)));
            }
        }
    }

    async fn perform(&mut self, plan: Plan, wanted: Wanted, client: Client) {
        match plan {
            Plan::Halt => self.begin_halt(wanted, client, Announce::ToTheGuest).await,
            Plan::Stop(sync) => self.begin_stop(sync, wanted, client).await,
            Plan::Kill => self.begin_kill(wanted, client).await,
            Plan::Pause => self.pause(wanted, client).await,
            Plan::Resume => self.resume(wanted, client).await,
            Plan::Sever(freeze) => self.sever(freeze, wanted, client).await,
            Plan::FreezeSevered => self.freeze_severed(wanted, client).await,
            other => {
                let message = format!("a monitor has no way to do {other:?}");
                client.refuse(Fault::new(FaultKind::Internal, message));
            }
        }
    }

    /// Records an intent. When this returns it is on disk, and the client knows.
    pub(super) async fn intend(
        &mut self,
        kind: EventType,
        wanted: &Wanted,
        client: &Client,
        change: impl FnOnce(NewEvent) -> NewEvent,
    ) {
        let deadline_ms = clock::whole_ms(wanted.limit);
        let deadline = Timestamp::from_unix_ms(clock::now().unix_ms().saturating_add(deadline_ms));
        self.book
            .set_pending(wanted.pending, &wanted.origin, Some(deadline));
        let event = self
            .book
            .event_of(kind, &wanted.origin)
            .with("deadlineMs", deadline_ms);
        self.book.commit(vec![change(event)]).await;
        microagent_os::crash_point::pass("monitor.intent_recorded");
        client.answer(MonitorAnswer::accepted());
    }

    // --- halt ---

    /// Halts for nobody in particular.
    pub(super) async fn begin_halt_silently(&mut self, wanted: Wanted) {
        self.begin_halt(wanted, Client::nobody(), Announce::ToTheGuest)
            .await;
    }

    async fn begin_halt(&mut self, wanted: Wanted, client: Client, announce: Announce) {
        let Some(control) = &self.control else {
            let name = &self.plan.workspace.name;
            let fault = Fault::new(
                FaultKind::Guest,
                format!("the guest of `{name}` has no control connection to be asked over"),
            )
            .with_hint("stop or kill it");
            client.refuse(self.with_console(fault));
            return;
        };
        let sender = control.sender.clone();
        if announce == Announce::ToTheGuest {
            self.intend(EventType::HaltRequested, &wanted, &client, |event| event)
                .await;
            self.guest.halt_acknowledged = false;
            sender.send(&HostMessage::Halt { id: HALT_ID });
        } else {
            client.answer(MonitorAnswer::accepted());
        }
        self.timers.set(Timer::Act, wanted.limit);
        self.act = Some(Act {
            verb: PendingVerb::Halt,
            origin: wanted.origin,
            clients: vec![client],
            begun: clock::monotonic(),
            limit: wanted.limit,
            step: Step::Halting,
            sync: None,
        });
    }

    /// The guest has heard of a halt.
    pub(super) async fn halt_acknowledged(&mut self) {
        if self.guest.halt_acknowledged {
            return;
        }
        self.guest.halt_acknowledged = true;
        if let Some(pending) = &mut self.book.record_mut().pending {
            pending.acknowledged = true;
        }
        if matches!(self.book.state(), State::Running(_)) {
            self.book.enter(State::Halting, None);
        }
        self.book.commit_later(Vec::new()).await;
    }

    async fn halt_timed_out(&mut self, act: Act) {
        let limit_ms = clock::whole_ms(act.limit);
        let acknowledged = self.guest.halt_acknowledged;
        self.book.record_mut().pending = None;
        let event = self
            .book
            .event_of(EventType::HaltTimedOut, &act.origin)
            .with("deadlineMs", limit_ms)
            .with("acknowledged", acknowledged);
        self.book.commit(vec![event]).await;
        let name = &self.plan.workspace.name;
        let fault = Fault::new(
            FaultKind::Timeout,
            format!("`{name}` did not shut down in {limit_ms} ms; nothing was killed"),
        )
        .with_hint("wait longer with a larger timeout, or use stop, or kill")
        .with_details(|details| {
            details.waited_for = Some("the guest to power off".to_owned());
            details.deadline_ms = Some(limit_ms);
            details.acknowledged = Some(acknowledged);
        });
        self.fail_clients(act.clients, &self.with_console(fault));
    }

    /// The host tells the monitor to end: a halt, then a stop.
    pub(super) async fn end_for_the_host(&mut self, limit: Duration) {
        if self.act.as_ref().is_some_and(Act::ends_vm) || !matches!(self.stage, Stage::Running) {
            return;
        }
        if self.is_maintenance() {
            return self.end_maintenance().await;
        }
        let origin = Origin {
            request_id: random::request_id(),
            initiator: Some(microagent_wire::supervisor::request::Initiator {
                channel: microagent_wire::supervisor::request::Channel::Other,
                subject: Some("signal".to_owned()),
            }),
            note: None,
        };
        let can_halt = self.control.is_some() && !self.book.state().is_frozen();
        let wanted = Wanted {
            verb: if can_halt { Verb::Halt } else { Verb::Stop },
            pending: if can_halt {
                PendingVerb::Halt
            } else {
                PendingVerb::Stop
            },
            origin,
            limit,
        };
        self.host_ends = true;
        self.act(wanted, Client::nobody()).await;
    }

    // --- stop and kill ---

    pub(super) async fn begin_stop(&mut self, sync: SyncPlan, wanted: Wanted, client: Client) {
        self.intend(EventType::StopRequested, &wanted, &client, |event| event)
            .await;
        let reachable = self.stage == Stage::Running && !self.guest.unreachable;
        let act = Act {
            verb: PendingVerb::Stop,
            origin: wanted.origin,
            clients: vec![client],
            begun: clock::monotonic(),
            limit: wanted.limit,
            step: Step::Syncing,
            sync: Some(GuestSync::Skipped),
        };
        self.act = Some(act);
        match (&self.machine, sync) {
            (Some(vm), SyncPlan::Ask) if reachable => {
                let (vm, events) = (vm.clone(), self.events.clone());
                let limit = self.guest_limit(SYNC_LIMIT);
                spawn_local(async move {
                    let outcome = match timeout(limit, sync_guest(vm)).await {
                        Ok(true) => GuestSync::Done,
                        Ok(false) => GuestSync::Skipped,
                        Err(_) => GuestSync::TimedOut,
                    };
                    events.send(Event::GuestSynced(outcome)).await;
                });
            }
            _ => self.terminate().await,
        }
    }

    /// The guest has written back, or will not.
    pub(super) async fn guest_synced(&mut self, outcome: GuestSync) {
        if let Some(act) = &mut self.act
            && act.step == Step::Syncing
        {
            act.sync = Some(outcome);
            self.terminate().await;
        }
    }

    async fn terminate(&mut self) {
        let Some(act) = &mut self.act else { return };
        act.step = Step::Terminating;
        self.timers.set(Timer::Act, act.limit);
        if let Some(vm) = &self.machine
            && let Err(error) = vm.terminate()
        {
            tracing::warn!(%error, "the VMM took no signal");
            self.escalate().await;
        }
    }

    async fn escalate(&mut self) {
        let Some(act) = &mut self.act else { return };
        act.step = Step::Killing;
        let event = self
            .book
            .event_of(EventType::StopEscalated, &act.origin.clone());
        self.book.append(vec![event]).await;
        self.timers.clear(Timer::Act);
        self.kill_vm();
    }

    pub(super) async fn begin_kill(&mut self, wanted: Wanted, client: Client) {
        self.intend(EventType::KillRequested, &wanted, &client, |event| event)
            .await;
        self.act = Some(Act {
            verb: PendingVerb::Kill,
            origin: wanted.origin,
            clients: vec![client],
            begun: clock::monotonic(),
            limit: KILL_LIMIT,
            step: Step::Killing,
            sync: None,
        });
        self.timers.clear(Timer::Act);
        self.kill_vm();
    }

    /// The limit of the act's present step has passed.
    pub(super) async fn act_timer_fired(&mut self) {
        match self.act.take() {
            Some(act) if act.step == Step::Halting => {
                self.halt_timed_out(act).await;
                if std::mem::take(&mut self.host_ends) {
                    self.end_for_the_host_by_stop().await;
                }
            }
            Some(act) if act.step == Step::Terminating => {
                self.act = Some(act);
                self.escalate().await;
            }
            Some(mut act) => {
                let name = &self.plan.workspace.name;
                let limit_ms = clock::whole_ms(KILL_LIMIT);
                let message =
                    format!("the VM of `{name}` is still there {limit_ms} ms after it was killed");
                let fault = Fault::new(FaultKind::Backend, message).with_details(|details| {
                    details.waited_for = Some("the VM to end".to_owned());
                    details.deadline_ms = Some(limit_ms);
                });
                self.fail_clients(std::mem::take(&mut act.clients), &fault);
                // What it was asked to do stays true for the record.
                self.act = Some(act);
            }
            None => tracing::error!("the VM is still there after it was killed"),
        }
    }

    async fn end_for_the_host_by_stop(&mut self) {
        let origin = Origin {
            request_id: random::request_id(),
            initiator: None,
            note: None,
        };
        let wanted = Wanted {
            verb: Verb::Stop,
            pending: PendingVerb::Stop,
            origin,
            limit: STOP_LIMIT,
        };
        Box::pin(self.act(wanted, Client::nobody())).await;
    }

    // --- pause and resume ---

    async fn pause(&mut self, wanted: Wanted, client: Client) {
        self.book.set_pending(wanted.pending, &wanted.origin, None);
        self.book.commit(Vec::new()).await;
        client.answer(MonitorAnswer::accepted());
        let vm = self.machine.clone();
        if let Err(fault) = settle_vcpus(vm.as_deref(), |vm| vm.pause()).await {
            return self.vcpus_failed(client, fault).await;
        }
        self.timers.clear(Timer::Heartbeat);
        self.book.enter(State::Paused, None);
        self.vcpus_settled(EventType::Paused, wanted, client).await;
    }

    async fn resume(&mut self, wanted: Wanted, client: Client) {
        self.book.set_pending(wanted.pending, &wanted.origin, None);
        self.book.commit(Vec::new()).await;
        client.answer(MonitorAnswer::accepted());
        let vm = self.machine.clone();
        if let Err(fault) = settle_vcpus(vm.as_deref(), |vm| vm.resume()).await {
            return self.vcpus_failed(client, fault).await;
        }
        self.set_guest_clock();
        self.restart_heartbeat();
        self.book
            .enter(State::Running(RunningReason::Resumed), None);
        self.vcpus_settled(EventType::Resumed, wanted, client).await;
    }

    async fn vcpus_settled(&mut self, kind: EventType, wanted: Wanted, client: Client) {
        self.book.record_mut().pending = None;
        let event = self
            .book
            .event_of(kind, &wanted.origin)
            .state(self.book.state());
        let event = self.book.commit(vec![event]).await;
        let mut answer = self.done(true);
        answer.event = event.as_ref().map(crate::event_view::event_view);
        client.answer(answer);
        self.tell_change();
    }

    async fn vcpus_failed(&mut self, client: Client, fault: Fault) {
        self.book.record_mut().pending = None;
        self.book.commit(Vec::new()).await;
        self.fail_clients(vec![client], &fault);
    }

    // --- answers ---

    fn overtake(&mut self, by: &Wanted) {
        let Some(act) = self.act.take() else { return };
        self.timers.clear(Timer::Act);
        let name = &self.plan.workspace.name;
        let verb = by.verb.as_str();
        let message = format!(
            "the {} of `{name}` was overtaken by a {verb}",
            act.verb.as_str()
        );
        let fault = Fault::new(FaultKind::WrongState, message).with_details(|details| {
            details.overtaken_by = Some(OvertakenBy {
                verb: verb.to_owned(),
                request_id: Some(by.origin.request_id.clone()),
            });
        });
        self.fail_clients(act.clients, &fault);
    }

    /// The last line of an act, with the workspace as it is.
    pub(super) fn done(&self, changed: bool) -> MonitorAnswer {
        MonitorAnswer {
            done: Some(true),
            changed: Some(changed),
            workspace: Some(Box::new(self.view())),
            warnings: self
                .book
                .record_error()
                .map(unrecorded)
                .into_iter()
                .collect(),
            ..MonitorAnswer::success()
        }
    }

    /// Tells clients that their act failed.
    pub(super) fn fail_clients(&self, clients: Vec<Client>, fault: &Fault) {
        let answer = MonitorAnswer {
            done: Some(true),
            changed: Some(true),
            workspace: Some(Box::new(self.view())),
            ..MonitorAnswer::failure(fault.clone())
        };
        for client in clients {
            client.answer(answer.clone());
        }
    }

    /// How an act that ended the VM went.
    pub(super) fn ending_of(
        act: &Act,
        ended_by: microagent_wire::supervisor::response::EndedBy,
    ) -> Ending {
        let took = clock::monotonic().duration_since(act.begun);
        Ending {
            ended_by,
            guest_sync: act.sync,
            duration_ms: clock::whole_ms(took),
        }
    }
}

/// The warning of an act whose record could not be written.
fn unrecorded(why: &str) -> String {
    format!("it is done and could not be recorded: {why}")
}

/// Whether the guest is to be told of a halt, or was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announce {
    ToTheGuest,
    Silently,
}

/// The id in `halt` messages: one halt is under way at most.
const HALT_ID: u64 = 1;

async fn sync_guest(vm: Rc<dyn Vm>) -> bool {
    let request = ServiceRequest {
        generation: 1,
        service: Service::Sync {},
    };
    let Ok(stream) = sessions::open(&*vm, &request.to_json()).await else {
        return false;
    };
    let mut frames = super::frame_stream::FrameReader::from_guest(stream);
    // The answer to the request, then `done`.
    for _ in 0..2 {
        match frames.next().await {
            Ok(Some(frame)) if frame.kind == FrameKind::Control => {}
            _ => return false,
        }
    }
    true
}

async fn settle_vcpus<'a>(
    vm: Option<&'a dyn Vm>,
    call: impl FnOnce(&'a dyn Vm) -> LocalFuture<'a, Result<(), BackendError>>,
) -> Result<(), Fault> {
    let Some(vm) = vm else {
        return Err(Fault::new(FaultKind::WrongState, "there is no VM yet"));
    };
    let limit = host_pace::limit(PAUSE_LIMIT);
    match timeout(limit, call(vm)).await {
        Ok(settled) => settled.map_err(|error| faults::of_backend(&error)),
        Err(_) => {
            let limit_ms = Some(clock::whole_ms(limit));
            let fault = Fault::new(FaultKind::Backend, "the VMM did not answer");
            Err(fault.with_details(|details| {
                details.waited_for = Some("the VMM to stop or start the vCPUs".to_owned());
                details.deadline_ms = limit_ms;
            }))
        }
    }
}
