//! What a monitor keeps of its workspace: the runtime record in memory, what was last written of it,
//! and the history. The loop changes it in words of the protocol; nobody else writes these files while
//! the lease is held.

use super::boot::{BootPlan, Published};
use super::boot_spec::mac_text;
use super::history::HistoryGrant;
use super::maintenance;
use super::recorder::{Committed, Recorder};
use crate::backend::{
    ConfinementDemand, ConfinementPart, ConfinementReport, GuestAddresses, Vm, VmIdentity,
};
use crate::disk_sizes::DiskSizes;
use crate::event_view::last_event_view;
use crate::origin::Origin;
use crate::view::{Beside, Live, absolute, workspace_view};
use microagent_machine::spec::MachineSpec;
use microagent_machine::state::{RestingState, State};
use microagent_machine::verb::PendingVerb;
use microagent_os::{clock, process};
use microagent_state::event_log::EventLog;
use microagent_state::event_record::{Event, EventType, NewEvent};
use microagent_state::record_store::Stored;
use microagent_state::runtime_record::{
    ConfinementRecord, HelperRecord, InterfaceRecord, MonitorRecord, NetworkRecord, VmRecord,
};
use microagent_state::{RuntimeRecord, WorkspacePaths, WorkspaceRecord};
use microagent_types::{BootId, Timestamp};
use microagent_wire::supervisor::response::{LastEvent, Workspace};
use std::net::IpAddr;

/// The record and the history of one workspace, while its monitor lives.
pub(crate) struct Book {
    paths: WorkspacePaths,
    workspace: WorkspaceRecord,
    spec: MachineSpec,
    stored: Stored<RuntimeRecord>,
    /// What the record was before a maintenance boot, and is after it.
    before: Option<(RuntimeRecord, State)>,
    state: State,
    boot_id: BootId,
    recorder: Recorder,
    last_event: Option<LastEvent>,
    record_error: Option<String>,
}

impl Book {
    /// From what was read when the lease was taken. A maintenance boot starts from a workspace at rest
    /// and leaves it so: its own states are in memory only.
    pub(crate) fn open(plan: &BootPlan<'_>, stored: Stored<RuntimeRecord>, state: State) -> Self {
        let before = plan.document.maintenance.map(|_| {
            let before = match state {
                State::Starting { before } => State::Resting(before),
                other => other,
            };
            (stored.value.clone(), before)
        });
        Self {
            before,
            paths: plan.paths.clone(),
            workspace: plan.workspace.clone(),
            spec: plan.spec.clone(),
            stored,
            state,
            boot_id: plan.document.boot_id,
            recorder: Recorder::start(plan.paths.clone(), plan.workspace.id),
            last_event: None,
            record_error: None,
        }
    }

    /// The state as recorded in memory.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Where the workspace rests during a maintenance boot.
    pub(crate) fn resting(&self) -> Option<RestingState> {
        match self.before {
            Some((_, State::Resting(resting))) => Some(resting),
            _ => None,
        }
    }

    /// What is written: the record, or what it is during a maintenance boot.
    fn on_disk(&self) -> Stored<RuntimeRecord> {
        let mut stored = self.stored.clone();
        if let Some((before, _)) = &self.before {
            stored.value = maintenance::on_disk(before, &self.stored.value);
        }
        stored
    }

    fn recorded(&self, mut events: Vec<NewEvent>) -> Vec<NewEvent> {
        if self.before.is_some() {
            events.retain(maintenance::is_recorded);
        }
        events
    }

    /// The record as it is in memory.
    pub(crate) fn record(&self) -> &RuntimeRecord {
        &self.stored.value
    }

    /// To change what has no word of its own here.
    pub(crate) fn record_mut(&mut self) -> &mut RuntimeRecord {
        &mut self.stored.value
    }

    /// What the machine is.
    pub(crate) fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// Where the workspace lies.
    pub(crate) fn paths(&self) -> &WorkspacePaths {
        &self.paths
    }

    /// Why records are not on disk, when they are not.
    pub(crate) fn record_error(&self) -> Option<&str> {
        self.record_error.as_deref()
    }

    /// Enters a state.
    pub(crate) fn enter(&mut self, state: State, detail: Option<String>) {
        debug_assert!(
            self.state.may_become(state),
            "{:?} -> {state:?}",
            self.state
        );
        self.state = state;
        self.stored.value.enter(state, clock::now(), detail);
    }

    /// Says who this monitor is.
    pub(crate) fn note_monitor(&mut self, pid_namespace: Option<u64>) -> std::io::Result<()> {
        let identity = process::current_identity()?;
        self.stored.value.monitor = Some(MonitorRecord {
            pid: identity.pid(),
            start_time: identity.start_time().as_str().to_owned(),
            pid_namespace,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        Ok(())
    }

    /// Says where sockets lie and which ports are bound.
    pub(crate) fn note_serving(&mut self, run: &std::path::Path, published: &[Published]) {
        self.stored.value.run_folder = Some(absolute(run));
        if let Some(boot) = &mut self.stored.value.boot {
            boot.publish = published
                .iter()
                .map(|port| {
                    let mut spec = port.spec;
                    spec.host_port = port.host_port;
                    spec.into()
                })
                .collect();
        }
    }

    /// Says what confines the VMM.
    pub(crate) fn note_confinement(
        &mut self,
        demand: ConfinementDemand,
        report: &ConfinementReport,
    ) {
        if report.parts.contains(&ConfinementPart::Landlock) {
            self.recorder.renew();
        }
        self.stored.value.confinement = Some(ConfinementRecord {
            required: demand == ConfinementDemand::Required,
            parts: report
                .parts
                .iter()
                .map(|part| part.as_str().to_owned())
                .collect(),
        });
    }

    /// Says what network the guest has.
    pub(crate) fn note_network(&mut self, mac: Option<[u8; 6]>, addresses: &GuestAddresses) {
        let interface = mac.map(|mac| interface_record(mac, addresses));
        self.stored.value.network = Some(NetworkRecord {
            mode: self.spec.network.mode.as_str().to_owned(),
            engine: None,
            interface,
            severed: false,
            error: None,
        });
    }

    /// Says which VM it is.
    pub(crate) fn note_vm(
        &mut self,
        vm: &dyn Vm,
        mac: Option<[u8; 6]>,
        engine_version: Option<String>,
    ) {
        let record = &mut self.stored.value;
        record.vm = Some(match vm.identity() {
            VmIdentity::Process(identity) => VmRecord::of_identity(&identity),
            VmIdentity::System { id, runtime_id } => VmRecord {
                pid: None,
                start_time: None,
                system_id: Some(id),
                runtime_id: Some(runtime_id),
            },
            VmIdentity::Monitor => VmRecord {
                pid: record.monitor.as_ref().map(|monitor| monitor.pid),
                start_time: record
                    .monitor
                    .as_ref()
                    .map(|monitor| monitor.start_time.clone()),
                system_id: None,
                runtime_id: None,
            },
        });
        if let Some(addresses) = vm.guest_addresses()
            && let Some(network) = &mut record.network
        {
            network.interface = mac.map(|mac| interface_record(mac, &addresses));
        }
        record.helpers = vm
            .helpers()
            .into_iter()
            .map(|helper| HelperRecord {
                name: helper.name.to_owned(),
                pid: helper.identity.pid(),
                start_time: helper.identity.start_time().as_str().to_owned(),
            })
            .collect();
        record.cgroup = vm.cgroup();
        if let Some(network) = &mut record.network {
            network.engine = vm.network_engine().map(str::to_owned);
        }
        if let Some(boot) = &mut record.boot
            && engine_version.is_some()
        {
            boot.engine_version = engine_version;
        }
    }

    /// Forgets everything that belongs to a boot that has ended.
    pub(crate) fn forget_processes(&mut self) {
        let record = &mut self.stored.value;
        record.monitor = None;
        record.vm = None;
        record.helpers.clear();
        record.cgroup = None;
        record.run_folder = None;
        record.pending = None;
        record.maintenance = None;
    }

    /// Says which act is under way.
    pub(crate) fn set_pending(
        &mut self,
        verb: PendingVerb,
        origin: &Origin,
        deadline: Option<Timestamp>,
    ) {
        self.stored.value.pending = Some(origin.pending(verb, deadline));
    }

    /// An event of this boot.
    pub(crate) fn event(&self, kind: EventType) -> NewEvent {
        NewEvent::new(kind).boot(self.boot_id)
    }

    /// An event of this boot that somebody asked for.
    pub(crate) fn event_of(&self, kind: EventType, origin: &Origin) -> NewEvent {
        origin.event(kind).boot(self.boot_id)
    }

    /// Writes the record and then events, and comes back when both are on disk, or kept because they
    /// cannot be. The last event is returned as it was written.
    pub(crate) async fn commit(&mut self, events: Vec<NewEvent>) -> Option<Event> {
        self.stored.value.updated_at = clock::now();
        let (record, events) = (self.on_disk(), self.recorded(events));
        let committed = self.recorder.commit(Some(record), events).await;
        self.settle(committed.await.unwrap_or_default())
    }

    /// As [`Book::commit`] without the record.
    pub(crate) async fn append(&mut self, events: Vec<NewEvent>) -> Option<Event> {
        let events = self.recorded(events);
        let committed = self.recorder.commit(None, events).await;
        self.settle(committed.await.unwrap_or_default())
    }

    /// Queues the record and events behind what was queued before, without waiting for the disk.
    pub(crate) async fn commit_later(&mut self, events: Vec<NewEvent>) {
        self.stored.value.updated_at = clock::now();
        let (record, events) = (self.on_disk(), self.recorded(events));
        drop(self.recorder.commit(Some(record), events).await);
    }

    /// Queues events without waiting for the disk.
    pub(crate) async fn append_later(&mut self, events: Vec<NewEvent>) {
        let events = self.recorded(events);
        drop(self.recorder.commit(None, events).await);
    }

    /// What is stored of the history, and what will be.
    pub(crate) fn history(&self, after: u64) -> HistoryGrant {
        let written = self.recorder.follow();
        HistoryGrant {
            log: EventLog::new(&self.paths, self.workspace.id),
            written,
            after,
        }
    }

    fn settle(&mut self, committed: Committed) -> Option<Event> {
        self.record_error = committed.error;
        let last = committed.events.into_iter().next_back();
        if let Some(event) = &last {
            self.last_event = Some(last_event_view(event));
        }
        last
    }

    /// The workspace as callers see it.
    pub(crate) fn view(&self, vm_alive: bool, live: Live) -> Workspace {
        let beside = Beside {
            vm_alive,
            disk_sizes: DiskSizes::of(&self.spec),
            last_event: self.last_event.clone(),
            live: Some(live),
            ..Beside::default()
        };
        let state = self.before.as_ref().map_or(self.state, |(_, state)| *state);
        workspace_view(
            &self.paths,
            &self.workspace,
            &self.spec,
            &self.on_disk().value,
            state,
            beside,
            clock::now(),
        )
    }
}

fn interface_record(mac: [u8; 6], addresses: &GuestAddresses) -> InterfaceRecord {
    let mut interface = InterfaceRecord {
        mac: mac_text(mac),
        address: None,
        prefix_length: None,
        gateway: None,
        address6: None,
        gateway6: None,
        dns: Vec::new(),
        mtu: None,
    };
    if let GuestAddresses::Static {
        mtu,
        address,
        prefix_length,
        gateway,
        v6,
        dns,
    } = addresses
    {
        interface.address = Some(IpAddr::V4(*address));
        interface.prefix_length = Some(*prefix_length);
        interface.gateway = Some(IpAddr::V4(*gateway));
        interface.address6 = v6.map(|(address, _, _)| IpAddr::V6(address));
        interface.gateway6 = v6.map(|(_, _, gateway)| IpAddr::V6(gateway));
        interface.dns.clone_from(dns);
        interface.mtu = Some(*mtu);
    }
    interface
}
