//! What clients of `monitor.sock` may ask beside acts: status, waits, sessions, the serial console.
//! Admission is the state table; a guest that is still booting is waited for.

use super::acts::{HALT_LIMIT, Wanted};
use super::event::Event;
use super::local_api::{Client, SerialGrant, Turn};
use super::mediation::ServedChannel;
use super::owner::{BOUND_LIMIT, OpenSession, Owner, STOP_LIMIT, Stage};
use super::sessions::{ClosedBy, SESSIONS_MAX, SessionEnd, SessionGrant};
use super::timers::Timer;
use crate::faults;
use crate::origin::Origin;
use crate::view::{Live, pending_view, publish_view};
use microagent_machine::admission::{
    Admission, Refusal, Situation, WaitFor as AdmissionWait, admit,
};
use microagent_machine::verb::{Freeze, PendingVerb, SessionKind, Verb};
use microagent_os::{clock, random};
use microagent_state::event_record::EventType;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, SerialMode, WaitFor};
use microagent_wire::monitor::response::{MONITOR_PROTOCOL, MonitorAnswer, MonitorIdentity};
use microagent_wire::supervisor::request::Expect;
use microagent_wire::supervisor::response::{PublishView, Readiness, Traffic, Workspace};
use serde_json::Value;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::Instant;

/// How long a session waits for a guest that is booting.
const BOOT_WAIT_LIMIT: Duration = Duration::from_secs(30);
/// A wait without a limit of its own is as long as the VM lives, and no VM lives ten years.
const FOR_EVER: Duration = Duration::from_hours(10 * 365 * 24);
/// Waits at once.
const WAITING_MAX: usize = 320;

/// A client that waits for the guest or for a change.
#[derive(Debug)]
pub(super) struct Waiting {
    what: WaitingFor,
    client: Client,
    until: Instant,
    limit: Duration,
}

/// What a client waits for, and what it wants then.
#[derive(Debug)]
pub(super) enum WaitingFor {
    /// The guest to be ready, for this session.
    Session(SessionWanted),
    /// The guest to be ready, for this act.
    Act(Wanted),
    /// Something to be so.
    Told(WaitFor),
}

/// A session that somebody wants.
#[derive(Debug)]
pub(super) struct SessionWanted {
    request: Value,
    kind: Verb,
    ends_vm: bool,
    names_boot: bool,
    origin: Origin,
}

impl Waiting {
    pub(super) fn new(what: WaitingFor, client: Client, limit: Duration) -> Self {
        Self {
            what,
            client,
            until: Instant::now() + limit,
            limit,
        }
    }
}

impl Owner<'_> {
    /// Takes a request of a client.
    pub(super) async fn asked(&mut self, request: MonitorRequest, client: Client) {
        if let Some(fault) = self.expectation_fault(request.expect) {
            client.refuse(fault);
            return;
        }
        let names_boot = request
            .expect
            .is_some_and(|expect| expect.boot_id.is_some());
        let origin = Origin {
            request_id: request.request_id.unwrap_or_else(random::request_id),
            initiator: request.initiator,
            note: request.note,
        };
        let act = |verb, pending, origin, limit| Wanted {
            verb,
            pending,
            origin,
            limit,
        };
        let given = |timeout_ms: Option<u64>, otherwise| {
            timeout_ms.map_or(otherwise, Duration::from_millis)
        };
        let wanted = match request.op {
            MonitorOp::Halt { timeout_ms } => {
                let limit = given(timeout_ms, HALT_LIMIT);
                act(Verb::Halt, PendingVerb::Halt, origin, limit)
            }
            MonitorOp::Stop { timeout_ms } => {
                let limit = given(timeout_ms, STOP_LIMIT);
                act(Verb::Stop, PendingVerb::Stop, origin, limit)
            }
            MonitorOp::Kill {} => act(
                Verb::Kill,
                PendingVerb::Kill,
                origin,
                super::owner::KILL_LIMIT,
            ),
            MonitorOp::Pause {} => act(Verb::Pause, PendingVerb::Pause, origin, Duration::ZERO),
            MonitorOp::Resume {} => act(Verb::Resume, PendingVerb::Resume, origin, Duration::ZERO),
            MonitorOp::Quarantine { freeze } => {
                let freeze = if freeze { Freeze::Yes } else { Freeze::No };
                let verb = Verb::Quarantine(freeze);
                act(verb, PendingVerb::Quarantine, origin, Duration::ZERO)
            }
            other => return self.asked_no_act(other, names_boot, origin, client).await,
        };
        self.act(wanted, client).await;
    }

    async fn asked_no_act(
        &mut self,
        op: MonitorOp,
        names_boot: bool,
        origin: Origin,
        client: Client,
    ) {
        match op {
            MonitorOp::Status { probe } => self.status_asked(probe, client),
            MonitorOp::Pending {} => client.answer(MonitorAnswer {
                pending: pending_view(self.book.record()),
                ..MonitorAnswer::success()
            }),
            MonitorOp::Wait { what, timeout_ms } => {
                let limit = timeout_ms.map_or(FOR_EVER, Duration::from_millis);
                let waiting = Waiting::new(WaitingFor::Told(what), client, limit.min(FOR_EVER));
                if what == WaitFor::Ready && self.stage == Stage::Running {
                    waiting.client.answer(self.status());
                } else {
                    self.wait_for_ready(waiting);
                }
            }
            MonitorOp::Session {
                request,
                end_vm_on_close,
            } => {
                let kind = session_verb(&request);
                let wanted = SessionWanted {
                    request,
                    kind,
                    ends_vm: end_vm_on_close,
                    names_boot,
                    origin,
                };
                self.session_asked(wanted, client).await;
            }
            MonitorOp::Serial { mode } => self.serial_asked(mode, client),
            MonitorOp::Release { number } => match self.sessions.get_mut(&number) {
                Some(session) => {
                    session.ends_vm = false;
                    client.answer(MonitorAnswer::success());
                }
                None => {
                    let message = format!("there is no session {number}");
                    client.refuse(Fault::new(FaultKind::NotFound, message));
                }
            },
            MonitorOp::Events { after } => client.grant(Turn::History(self.book.history(after))),
            MonitorOp::Halt { .. }
            | MonitorOp::Stop { .. }
            | MonitorOp::Kill {}
            | MonitorOp::Pause {}
            | MonitorOp::Resume {}
            | MonitorOp::Quarantine { .. } => {
                unreachable!("acts are taken before")
            }
        }
    }

    fn expectation_fault(&self, expect: Option<Expect>) -> Option<Fault> {
        let expect = expect?;
        let name = &self.plan.workspace.name;
        if expect.id.is_some_and(|id| id != self.plan.workspace.id) {
            let message = format!("`{name}` is another workspace than the one named");
            return Some(Fault::new(FaultKind::NotFound, message));
        }
        let boot_id = self.plan.document.boot_id;
        if expect.boot_id.is_some_and(|expected| expected != boot_id) {
            let message = format!("`{name}` is in another boot than the one named");
            let state = self.book.state().name().as_str().to_owned();
            return Some(
                Fault::new(FaultKind::WrongState, message).with_details(|details| {
                    details.state = Some(state);
                    details.boot_id = Some(boot_id);
                }),
            );
        }
        None
    }

    // --- status ---

    /// Answers at once, or, when a look at the mediation target is wanted, after it.
    fn status_asked(&self, probe: bool, client: Client) {
        let Some(channel) = self.held.mediation.as_ref().filter(|_| probe) else {
            return client.answer(self.status());
        };
        let (look, events) = (channel.probe(&self.events), self.events.clone());
        spawn_local(async move {
            look.await;
            let request = MonitorRequest {
                op: MonitorOp::Status { probe: false },
                request_id: None,
                initiator: None,
                note: None,
                expect: None,
            };
            events.send(Event::Asked { request, client }).await;
        });
    }

    fn status(&self) -> MonitorAnswer {
        MonitorAnswer {
            workspace: Some(Box::new(self.view())),
            monitor: Some(MonitorIdentity {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                protocol: MONITOR_PROTOCOL,
            }),
            record_error: self.book.record_error().map(str::to_owned),
            ..MonitorAnswer::success()
        }
    }

    /// The workspace as it is now.
    pub(super) fn view(&self) -> Workspace {
        let alive =
            self.machine.is_some() && !matches!(self.stage, Stage::Draining(_) | Stage::Done);
        let responsive =
            self.stage == Stage::Running && !self.guest.silent && !self.guest.unreachable;
        let running = matches!(
            self.book.state(),
            microagent_machine::state::State::Running(_)
        );
        let channel = self.held.mediation.as_ref();
        let mediated = channel.is_some() || self.severed_mediation;
        let mediation_error = match channel {
            Some(channel) => channel.error(),
            None => mediated.then(|| "severed by quarantine".to_owned()),
        };
        let live = Live {
            responsive,
            last_heartbeat: self.guest.last_heartbeat,
            readiness: Readiness {
                guest_ready: responsive,
                exec_ready: responsive && running,
                mediation_ready: mediated.then_some(mediation_error.is_none()),
                mediation_error,
            },
            publish: self
                .held
                .published
                .iter()
                .map(|port| PublishView {
                    open_connections: port.count.open.get(),
                    total_connections: port.count.total.get(),
                    ..publish_view(&port.spec, port.host_port, true)
                })
                .collect(),
            mediation: channel.map(ServedChannel::view),
            traffic: Some(self.traffic()),
        };
        self.book.view(alive, live)
    }

    /// What has crossed on the ways that are open.
    fn traffic(&self) -> Traffic {
        let frames = self.machine.as_ref().and_then(|vm| vm.network_bytes());
        let frames = frames.unwrap_or_default();
        let mut traffic = Traffic {
            bytes_in: frames.to_guest,
            bytes_out: frames.from_guest,
        };
        for port in &self.held.published {
            traffic.bytes_in += port.count.bytes_in.get();
            traffic.bytes_out += port.count.bytes_out.get();
        }
        if let Some(channel) = self.held.mediation.as_ref().map(ServedChannel::view) {
            // There, in is what the host receives.
            traffic.bytes_in += channel.bytes_out;
            traffic.bytes_out += channel.bytes_in;
        }
        traffic
    }

    // --- waiting ---

    /// Has a client wait.
    pub(super) fn wait_for_ready(&mut self, waiting: Waiting) {
        if self.waiting.len() >= WAITING_MAX {
            let fault = Fault::new(
                FaultKind::Resource,
                "too many clients wait for this workspace",
            );
            waiting.client.refuse(fault);
            return;
        }
        self.waiting.push(waiting);
        self.set_waiting_timer();
    }

    fn set_waiting_timer(&mut self) {
        let now = Instant::now();
        match self.waiting.iter().map(|waiting| waiting.until).min() {
            Some(until) => self
                .timers
                .set(Timer::Waiting, until.saturating_duration_since(now)),
            None => self.timers.clear(Timer::Waiting),
        }
    }

    /// Refuses those whose time has run out.
    pub(super) fn waited_enough(&mut self) {
        let now = Instant::now();
        let (due, left) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.until <= now);
        self.waiting = left;
        for waiting in due {
            let limit_ms = Some(clock::whole_ms(waiting.limit));
            let waited_for = match waiting.what {
                WaitingFor::Told(WaitFor::Ended) => "the VM to end",
                WaitingFor::Told(WaitFor::Change) => "the state to change",
                _ => "the guest to be ready",
            };
            let name = &self.plan.workspace.name;
            let fault = Fault::new(
                FaultKind::Timeout,
                format!("waited in vain for {waited_for} (`{name}`)"),
            )
            .with_details(|details| {
                details.waited_for = Some(waited_for.to_owned());
                details.deadline_ms = limit_ms;
            });
            waiting.client.refuse(self.with_console(fault));
        }
        self.set_waiting_timer();
    }

    /// The guest is ready: whoever waited for it is served.
    pub(super) async fn admit_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting.what {
                WaitingFor::Session(wanted) => self.session_asked(wanted, waiting.client).await,
                WaitingFor::Act(wanted) => Box::pin(self.act(wanted, waiting.client)).await,
                WaitingFor::Told(WaitFor::Ready | WaitFor::Change) => {
                    waiting.client.answer(self.status());
                }
                WaitingFor::Told(WaitFor::Ended) => self.waiting.push(waiting),
            }
        }
        self.set_waiting_timer();
    }

    /// The state is another one.
    pub(super) fn tell_change(&mut self) {
        let status = self.status();
        self.waiting.retain(|waiting| {
            let told = matches!(waiting.what, WaitingFor::Told(WaitFor::Change));
            if told {
                waiting.client.answer(status.clone());
            }
            !told
        });
        self.set_waiting_timer();
    }

    /// The VM is gone and that is recorded: nobody waits for anything else any more.
    pub(super) fn dismiss_waiting(&mut self) {
        let status = self.status();
        let name = self.plan.workspace.name.clone();
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting.what {
                WaitingFor::Told(WaitFor::Ended | WaitFor::Change) => {
                    waiting.client.answer(status.clone());
                }
                _ => {
                    let message = format!("`{name}` ended before its guest was ready");
                    waiting
                        .client
                        .refuse(Fault::new(FaultKind::WrongState, message).with_hint("start it"));
                }
            }
        }
    }

    // --- sessions ---

    async fn session_asked(&mut self, wanted: SessionWanted, client: Client) {
        let is_its_own = wanted.names_boot || wanted.ends_vm;
        if self.is_maintenance()
            && let Some(fault) = self.maintenance_refusal(&wanted.request, wanted.kind, is_its_own)
        {
            return client.refuse(fault);
        }
        let state = self.book.state();
        match admit(wanted.kind, Situation::Present(state)) {
            Admission::Do(_) | Admission::NothingToDo => {
                self.open_session(wanted, client).await;
            }
            Admission::Wait(AdmissionWait::Ready | AdmissionWait::End) => {
                let waiting = WaitingFor::Session(wanted);
                self.wait_for_ready(Waiting::new(waiting, client, BOOT_WAIT_LIMIT));
            }
            Admission::Refused(refusal) => {
                if self.plan.workspace.is_quarantined() || *self.severed.borrow() {
                    let refused = self
                        .book
                        .event_of(EventType::Refused, &wanted.origin)
                        .with("verb", wanted.kind.as_str());
                    self.book.append_later(vec![refused]).await;
                }
                let name = &self.plan.workspace.name;
                client.refuse(faults::of_refusal(wanted.kind, name, refusal, Some(state)));
            }
        }
    }

    async fn open_session(&mut self, wanted: SessionWanted, client: Client) {
        let Some(vm) = self.machine.clone().filter(|_| !self.guest.unreachable) else {
            let fault = Fault::new(FaultKind::Guest, "the guest can't be reached any more")
                .with_hint("stop or kill the workspace");
            client.refuse(fault);
            return;
        };
        if self.sessions.len() >= SESSIONS_MAX {
            let fault = Fault::new(FaultKind::Resource, "too many sessions are open")
                .with_details(|details| details.limit = Some(SESSIONS_MAX as u64));
            client.refuse(fault);
            return;
        }
        self.sessions_opened += 1;
        let number = self.sessions_opened;
        let ends_vm = wanted.ends_vm;
        self.sessions.insert(number, OpenSession { ends_vm });
        if ends_vm {
            self.timers.clear(Timer::Bound);
        }
        let opened = self
            .book
            .event_of(EventType::SessionOpened, &wanted.origin)
            .with("number", number)
            .with("service", word(&wanted.request, "service"))
            .with("command", first_word(&wanted.request))
            .with("pid", client.peer.pid)
            .with("uid", client.peer.uid);
        client.grant(Turn::Session(SessionGrant {
            number,
            generation: self.guest.generation,
            request: wanted.request,
            bound: ends_vm,
            vm,
            severed: self.severed.subscribe(),
        }));
        self.book.append_later(vec![opened]).await;
        self.sync_soon();
    }

    /// A session is over.
    pub(super) async fn session_ended(&mut self, end: SessionEnd) {
        let Some(session) = self.sessions.remove(&end.number) else {
            return;
        };
        let duration_ms = clock::whole_ms(end.duration);
        let closed = self
            .book
            .event(EventType::SessionClosed)
            .with("number", end.number)
            .with("bytesIn", end.bytes_in)
            .with("bytesOut", end.bytes_out)
            .with("durationMs", duration_ms)
            .with("closedBy", end.closed_by.as_str());
        self.book.append_later(vec![closed]).await;
        self.sync_soon();
        match (session.ends_vm, end.closed_by) {
            (false, _) => {}
            (true, _) if self.is_maintenance() => self.end_maintenance().await,
            // A quarantine took the client away; the VM is evidence now.
            (true, ClosedBy::Severed) => {}
            // The command has ended; its client says next what becomes of the VM.
            (true, ClosedBy::Guest) => self.timers.set(Timer::Bound, BOUND_LIMIT),
            (true, _) => self.client_gone().await,
        }
    }

    fn serial_asked(&mut self, mode: SerialMode, client: Client) {
        if self.is_maintenance() {
            return self.refuse_in_maintenance(Verb::Serial, Refusal::MaintenanceRuns, client);
        }
        let state = self.book.state();
        if let Admission::Refused(refusal) = admit(Verb::Serial, Situation::Present(state)) {
            let name = &self.plan.workspace.name;
            client.refuse(faults::of_refusal(Verb::Serial, name, refusal, Some(state)));
            return;
        }
        let Some(input) = self.typed.clone() else {
            let fault = Fault::new(FaultKind::WrongState, "the VM is not launched yet");
            client.refuse(fault.with_hint("try again"));
            return;
        };
        client.grant(Turn::Serial(SerialGrant {
            mode,
            output: self.console.borrow().attach(),
            input,
            severed: self.severed.subscribe(),
        }));
    }
}

fn session_verb(request: &Value) -> Verb {
    match request.get("service").and_then(Value::as_str) {
        Some("shell") => Verb::Session(SessionKind::Shell),
        Some("read" | "write" | "list" | "stat") => Verb::Copy,
        _ => Verb::Session(SessionKind::Exec),
    }
}

fn word(request: &Value, field: &str) -> Option<String> {
    let text = request.get(field).and_then(Value::as_str)?;
    Some(super::guest_words::plain(text))
}

fn first_word(request: &Value) -> Option<String> {
    let text = request.get("argv")?.get(0)?.as_str()?;
    Some(super::guest_words::plain(text))
}
