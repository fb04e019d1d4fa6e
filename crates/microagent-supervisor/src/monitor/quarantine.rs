//! Severing a living VM: every path between the guest and anything else is cut, in the order and with
//! the records that the phases in `machine` prescribe. The VM, its disks, its console and its history
//! stay.

use super::acts::Wanted;
use super::local_api::Client;
use super::mediation::ServedChannel;
use super::owner::{Owner, Stage};
use super::timers::Timer;
use microagent_machine::containment::{
    Cut, Frozen, ListenersRemoved, Marked, Path, Resets, Severed, Verdict,
};
use microagent_machine::spec::NetworkMode;
use microagent_machine::state::{QuarantineReason, QuarantinedVm, State, Vcpus};
use microagent_machine::verb::Freeze;
use microagent_os::clock;
use microagent_state::event_record::EventType;
use microagent_state::runtime_record::QuarantineRecord;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::monitor::response::MonitorAnswer;
use microagent_wire::supervisor::response::{SeverResult, Severed as SeveredView};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::timeout;

/// Most time for one cut.
const CUT_LIMIT: Duration = Duration::from_secs(2);

impl Owner<'_> {
    /// Severs a VM that lives.
    pub(super) async fn sever(&mut self, freeze: Freeze, wanted: Wanted, client: Client) {
        // The client that the VM was bound to loses it to whoever looks at the evidence.
        self.timers.clear(Timer::Bound);
        self.begin_record(&wanted);
        self.intend(EventType::QuarantineRequested, &wanted, &client, |event| {
            event.with("freeze", freeze == Freeze::Yes)
        })
        .await;
        let marked = Marked::begin(freeze);
        let frozen = match marked.freeze() {
            Freeze::Yes => self.freeze_vcpus().await,
            Freeze::No if self.book.state() == State::Paused => Frozen::Yes,
            Freeze::No => Frozen::NotAsked,
        };
        let settled = marked.vcpus_settled(frozen);
        // From here on admission refuses, and the loop hears of no new connection.
        self.enter_quarantine(frozen == Frozen::Yes);
        self.record_step("frozen", (frozen == Frozen::Yes).into())
            .await;
        let resets = self.open_connections();
        // One word, which every accepting and every carrying task obeys before it does anything else.
        self.severed.send_replace(true);
        self.typed = None;
        let closed = settled.doors_closed();
        self.record_step("doors", "closed".into()).await;
        Box::pin(self.connections_gone()).await;
        let reset = closed.connections_reset(resets);
        self.record_step("sessions", resets.sessions.as_str().into())
            .await;
        let network = self.cut_network().await;
        let cut = reset.network_cut(network);
        self.record_step("network", network.as_str().into()).await;
        let counted = self.counted();
        self.book.append_later(counted).await;
        let removed = self.remove_listeners();
        self.settle_quarantine(cut.listeners_removed(removed), wanted, client)
            .await;
    }

    /// What is open now, for the record of what was cut.
    fn open_connections(&self) -> Resets {
        let cut = |open: u64| match u32::try_from(open).unwrap_or(u32::MAX) {
            0 => Cut::None,
            connections => Cut::Done { connections },
        };
        let published = self.held.published.iter();
        let mediation = self.held.mediation.as_ref();
        Resets {
            sessions: cut(self.sessions.len() as u64),
            publish: cut(published.map(|port| port.count.open.get()).sum()),
            mediation: cut(mediation.map_or(0, ServedChannel::open)),
        }
    }

    fn remove_listeners(&mut self) -> ListenersRemoved {
        let publish = std::mem::take(&mut self.held.published);
        let mediation = self.held.mediation.take();
        let removed = |is_there| {
            if is_there {
                Cut::Done { connections: 0 }
            } else {
                Cut::None
            }
        };
        let removed = ListenersRemoved {
            publish: removed(!publish.is_empty()),
            mediation: removed(mediation.is_some()),
        };
        drop((publish, mediation));
        self.severed_mediation = removed.mediation != Cut::None;
        removed
    }

    /// One step is done: it is on disk before the next begins.
    async fn record_step(&mut self, step: &str, how: Value) {
        if let Some(quarantine) = &mut self.book.record_mut().quarantine {
            quarantine.severed.insert(step.to_owned(), how);
        }
        self.book.commit(Vec::new()).await;
        microagent_os::crash_point::pass("monitor.quarantine_step");
    }

    /// Stops the vCPUs of a VM that was severed before.
    pub(super) async fn freeze_severed(&mut self, wanted: Wanted, client: Client) {
        self.intend(EventType::QuarantineRequested, &wanted, &client, |event| {
            event.with("freeze", true)
        })
        .await;
        let frozen = self.freeze_vcpus().await;
        self.enter_quarantine(frozen == Frozen::Yes);
        let severed = Severed {
            frozen,
            ..Severed::NOTHING_TO_CUT
        };
        self.settle_quarantine(severed, wanted, client).await;
    }

    fn begin_record(&mut self, wanted: &Wanted) {
        self.book.record_mut().quarantine = Some(QuarantineRecord {
            at: clock::now(),
            note: wanted.origin.note.clone(),
            initiator: wanted.origin.initiator_record(),
            frozen: false,
            active: true,
            released_at: None,
            severed: Map::new(),
        });
    }

    fn enter_quarantine(&mut self, frozen: bool) {
        if let Some(quarantine) = &mut self.book.record_mut().quarantine {
            quarantine.frozen |= frozen;
        }
        let vcpus = if frozen {
            Vcpus::Frozen
        } else {
            Vcpus::Running
        };
        let state = State::Quarantined {
            vm: QuarantinedVm::Living(vcpus),
            reason: QuarantineReason::Quarantined,
        };
        self.book.enter(state, None);
    }

    async fn freeze_vcpus(&mut self) -> Frozen {
        if self.book.state().is_frozen() {
            return Frozen::Yes;
        }
        let Some(vm) = self.machine.clone() else {
            return Frozen::Failed;
        };
        match timeout(CUT_LIMIT, vm.pause()).await {
            Ok(Ok(())) => {
                self.timers.clear(Timer::Heartbeat);
                Frozen::Yes
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the vCPUs were not stopped");
                Frozen::Failed
            }
            Err(_) => Frozen::Failed,
        }
    }

    async fn cut_network(&mut self) -> Cut {
        if self.book.spec().network.mode == NetworkMode::Isolated {
            return Cut::None;
        }
        let Some(vm) = self.machine.clone() else {
            return Cut::None;
        };
        match timeout(CUT_LIMIT, vm.cut_network()).await {
            Ok(Ok(())) => {
                if let Some(network) = &mut self.book.record_mut().network {
                    network.severed = true;
                }
                Cut::Done { connections: 0 }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the network was not cut");
                Cut::Failed
            }
            Err(_) => Cut::Failed,
        }
    }

    async fn settle_quarantine(&mut self, mut severed: Severed, wanted: Wanted, client: Client) {
        let can_freeze = self.plan.backend.capabilities().freeze;
        let verdict = severed.verdict(can_freeze);
        if let Verdict::Incomplete {
            freeze_now: Freeze::Yes,
            ..
        } = verdict
        {
            severed.frozen = self.freeze_vcpus().await;
            self.enter_quarantine(severed.frozen == Frozen::Yes);
        }
        let view = severed_view(&severed);
        let map = severed_map(&severed);
        if let Some(quarantine) = &mut self.book.record_mut().quarantine {
            quarantine.severed.clone_from(&map);
        }
        self.book.record_mut().pending = None;
        let cut = map
            .into_iter()
            .fold(
                self.book.event_of(EventType::Severed, &wanted.origin),
                |event, (key, value)| event.with(&key, value),
            )
            .with("connections", Value::Object(connections_map(&severed)));
        let quarantined = self
            .book
            .event_of(EventType::Quarantined, &wanted.origin)
            .state(self.book.state());
        let event = self.book.commit(vec![cut, quarantined]).await;
        self.fail_start_of_quarantined();
        let answer = match verdict {
            Verdict::Contained => self.done(true),
            Verdict::Incomplete { open, .. } => MonitorAnswer {
                done: Some(true),
                changed: Some(true),
                workspace: Some(Box::new(self.view())),
                ..MonitorAnswer::failure(incomplete(&self.plan.workspace.name, &open))
            },
        };
        client.answer(MonitorAnswer {
            severed: Some(view),
            event: event.as_ref().map(crate::event_view::event_view),
            ..answer
        });
        self.tell_change();
    }

    /// A boot that was severed before it was ready is no start any more: whoever waits for it is told,
    /// and its deadlines end nothing.
    fn fail_start_of_quarantined(&mut self) {
        if !self.is_starting() {
            return;
        }
        for timer in [Timer::Hello, Timer::Silence, Timer::Ready] {
            self.timers.clear(timer);
        }
        let message = format!(
            "the start of `{}` was overtaken by a quarantine",
            self.plan.workspace.name
        );
        self.refuse_start(Fault::new(FaultKind::WrongState, message));
        self.was_ready = true;
        self.stage = Stage::Running;
    }
}

fn incomplete(name: &microagent_types::WorkspaceName, open: &[Path]) -> Fault {
    let paths: Vec<&str> = open
        .iter()
        .map(|path| match path {
            Path::Network => "network",
            Path::Publish => "published ports",
            Path::Mediation => "mediation",
            Path::Sessions => "sessions",
        })
        .collect();
    let what = if paths.is_empty() {
        "its vCPUs were not stopped".to_owned()
    } else {
        format!("still open: {}", paths.join(", "))
    };
    Fault::new(
        FaultKind::Backend,
        format!("`{name}` is quarantined, but not severed completely; {what}"),
    )
    .with_hint("kill it")
}

fn severed_view(severed: &Severed) -> SeveredView {
    let view = |cut| match cut {
        Cut::Done { .. } => SeverResult::Done,
        Cut::None => SeverResult::None,
        Cut::Failed => SeverResult::Failed,
    };
    SeveredView {
        network: view(severed.network),
        publish: view(severed.publish),
        mediation: view(severed.mediation),
        sessions: view(severed.sessions),
        frozen: severed.frozen == Frozen::Yes,
        vm_alive: true,
    }
}

/// How many connections each cut has reset.
fn connections_map(severed: &Severed) -> Map<String, Value> {
    [
        ("publish", severed.publish),
        ("mediation", severed.mediation),
        ("sessions", severed.sessions),
    ]
    .into_iter()
    .filter_map(|(key, cut)| match cut {
        Cut::Done { connections } => Some((key.to_owned(), connections.into())),
        Cut::None | Cut::Failed => None,
    })
    .collect()
}

fn severed_map(severed: &Severed) -> Map<String, Value> {
    let cuts = [
        ("network", severed.network),
        ("publish", severed.publish),
        ("mediation", severed.mediation),
        ("sessions", severed.sessions),
    ];
    let mut map: Map<String, Value> = cuts
        .into_iter()
        .map(|(key, cut)| (key.to_owned(), Value::from(cut.as_str())))
        .collect();
    map.insert("frozen".to_owned(), (severed.frozen == Frozen::Yes).into());
    map.insert("vmAlive".to_owned(), true.into());
    map
}
