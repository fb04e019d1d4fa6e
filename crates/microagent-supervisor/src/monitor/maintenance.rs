//! A maintenance boot: a VM that exists for its disks alone, while the workspace rests.
//!
//! ```text
//! ready -> sessions of whoever started it -> the bound one ends -> halt, 15 s -> stop, kill
//! ```
//!
//! Its loop is that of every boot. What differs is here: who may ask for what, and what is recorded.
//! The record on disk stays that of a workspace at rest, with the boot beside it, so whatever happens
//! in this boot can't change what the workspace is.

use super::acts::Wanted;
use super::local_api::Client;
use super::owner::Owner;
use crate::faults;
use crate::origin::Origin;
use microagent_machine::admission::{Admission, Refusal, Situation, admit};
use microagent_machine::plan::{GuestSync as SyncPlan, Plan};
use microagent_machine::state::{RestingState, State};
use microagent_machine::verb::{PendingVerb, Verb};
use microagent_os::random;
use microagent_state::event_record::{EventType, NewEvent};
use microagent_state::runtime_record::RuntimeRecord;
use microagent_wire::fault::{Fault, FaultKind};
use serde_json::Value;
use std::time::Duration;

/// How long it goes without a session that is bound to it.
pub(super) const BOUND_LIMIT: Duration = Duration::from_secs(30);
/// How long the guest may take to unmount its disks.
const HALT_LIMIT: Duration = Duration::from_secs(15);
/// What a session may ask for.
const SERVICES: [&str; 6] = ["read", "write", "list", "stat", "sync", "ping"];

/// What the record on disk says during a maintenance boot: what it said before, and which processes
/// there are.
pub(super) fn on_disk(before: &RuntimeRecord, now: &RuntimeRecord) -> RuntimeRecord {
    let mut record = before.clone();
    record.maintenance.clone_from(&now.maintenance);
    record.maintenance_count = now.maintenance_count;
    record.monitor.clone_from(&now.monitor);
    record.vm.clone_from(&now.vm);
    record.helpers.clone_from(&now.helpers);
    record.cgroup.clone_from(&now.cgroup);
    record.run_folder.clone_from(&now.run_folder);
    record.updated_at = now.updated_at;
    record
}

/// What of its events belongs into the history of a workspace at rest.
pub(super) fn is_recorded(event: &NewEvent) -> bool {
    matches!(
        event.kind(),
        EventType::MaintenanceStarted
            | EventType::MaintenanceEnded
            | EventType::SessionOpened
            | EventType::SessionClosed
            | EventType::HelperDied
            | EventType::GuestMisbehaved
    )
}

impl Owner<'_> {
    pub(super) fn is_maintenance(&self) -> bool {
        self.plan.document.maintenance.is_some()
    }

    /// Stop and kill end the boot, quarantine ends it and is then tried again without it; all else has
    /// to wait.
    pub(super) async fn act_in_maintenance(&mut self, wanted: Wanted, client: Client) {
        let resting = self.resting();
        match admit(wanted.verb, Situation::InMaintenance(resting)) {
            Admission::Do(Plan::EndMaintenance) if wanted.pending == PendingVerb::Stop => {
                self.begin_stop(SyncPlan::Ask, wanted, client).await;
            }
            Admission::Do(Plan::EndMaintenance) => self.begin_kill(wanted, client).await,
            Admission::Do(Plan::EndMaintenanceAndMark) => {
                // Its connection closes; the supervisor finds a workspace at rest then.
                drop(client);
                let kill = Wanted {
                    verb: Verb::Kill,
                    pending: PendingVerb::Kill,
                    ..wanted
                };
                self.begin_kill(kill, Client::nobody()).await;
            }
            Admission::Refused(refusal) => self.refuse_in_maintenance(wanted.verb, refusal, client),
            _ => self.refuse_in_maintenance(wanted.verb, Refusal::MaintenanceRuns, client),
        }
    }

    pub(super) fn refuse_in_maintenance(&self, verb: Verb, refusal: Refusal, client: Client) {
        let name = &self.plan.workspace.name;
        let state = Some(State::Resting(self.resting()));
        client.refuse(faults::of_refusal(verb, name, refusal, state));
    }

    fn resting(&self) -> RestingState {
        self.book.resting().unwrap_or(RestingState::Prepared)
    }

    /// Why a session is not for this boot, when it is not. Whoever names the boot, or binds it to a
    /// session, is who started it.
    pub(super) fn maintenance_refusal(
        &self,
        request: &Value,
        verb: Verb,
        is_its_own: bool,
    ) -> Option<Fault> {
        let name = &self.plan.workspace.name;
        let state = Some(State::Resting(self.resting()));
        if !is_its_own {
            let refusal = Refusal::MaintenanceRuns;
            return Some(faults::of_refusal(verb, name, refusal, state));
        }
        let service = request.get("service").and_then(Value::as_str);
        if service.is_some_and(|service| SERVICES.contains(&service)) {
            return None;
        }
        let message = format!("`{name}` is booted for its files alone");
        Some(Fault::new(FaultKind::WrongState, message))
    }

    /// Nobody needs the boot any more: the guest unmounts its disks, and what does not end is ended.
    pub(super) async fn end_maintenance(&mut self) {
        if self.act.is_some() {
            return;
        }
        let wanted = Wanted {
            verb: Verb::Halt,
            pending: PendingVerb::Halt,
            origin: Origin {
                request_id: random::request_id(),
                initiator: None,
                note: None,
            },
            limit: self.guest_limit(HALT_LIMIT),
        };
        // A guest that does not halt is stopped, and killed when that does not help.
        self.host_ends = true;
        if self.control.is_some() {
            self.begin_halt_silently(wanted).await;
        } else {
            self.kill_vm();
        }
    }
}
