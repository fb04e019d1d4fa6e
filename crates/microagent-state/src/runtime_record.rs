//! `runtime.json`: which VM runs, since when, its identity, its state and reason.
//!
//! Written by the monitor while it holds the lease, else by the holder of the workspace lock.
//! State and reason are changed together, through [`RuntimeRecord::enter`]; everything else is
//! plain data whose meaning the protocol page gives.

use std::net::IpAddr;

use microagent_machine::facts::{Recorded, Shutdown, ShutdownCause, Unmounted, WorkloadEnd};
use microagent_machine::state::{QuarantinedVm, RestingState, State, StateName, Vcpus};
use microagent_machine::verb::PendingVerb;
use microagent_machine::{Accelerator, UnknownWord};
use microagent_os::process::{
    InvalidIdentity, PidNamespace, ProcessHandle, ProcessIdentity, StartTime,
};
use microagent_types::{AbsPath, BootId, ByteSize, RequestId, Sha256Hex, Timestamp, VcpuCount};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config_record::PublishRecord;

/// The runtime record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeRecord {
    state: String,
    reason: String,
    state_since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Boots so far.
    pub boot_count: u64,
    /// Maintenance boots so far.
    #[serde(default)]
    pub maintenance_count: u64,
    /// The current or last boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootRecord>,
    /// The monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<MonitorRecord>,
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmRecord>,
    /// Helper processes of this boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helpers: Vec<HelperRecord>,
    /// Where VMM and helpers live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<AbsPath>,
    /// Prefix of every socket of this boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_folder: Option<AbsPath>,
    /// What confines the VMM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<ConfinementRecord>,
    /// The intent under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resting_state: Option<RestingRecord>,
    /// The effective network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkRecord>,
    /// The guest, from its hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestRecord>,
    /// When the guest confirmed the files of its first boot; the workspace record has it for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_delivered: Option<Timestamp>,
    /// How the VM ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<ShutdownRecord>,
    /// How the workload last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitRecord>,
    /// The quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineRecord>,
    /// The maintenance boot under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceRecord>,
    /// When this was written.
    pub updated_at: Timestamp,
}

/// One boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootRecord {
    /// Its id.
    pub id: BootId,
    /// Its number, from 1.
    pub number: u64,
    /// The host's boot.
    pub host_boot_id: String,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When the guest was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// When the VM ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What runs the guest's instructions: `kvm`, `emulation`, `apple` or `hyperv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// The VMM's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// Memory of this boot.
    pub memory_bytes: ByteSize,
    /// Virtual CPUs of this boot.
    pub cpus: VcpuCount,
    /// The kernel of this boot.
    pub kernel_sha256: Sha256Hex,
    /// Published ports of this boot, with real port numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishRecord>,
    /// Ends with its client.
    #[serde(default)]
    pub client_bound: bool,
}

/// The monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorRecord {
    /// Its pid, as the host sees it.
    pub pid: u32,
    /// Its start time.
    pub start_time: String,
    /// The pid namespace of the supervisor that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
    /// Its version.
    pub version: String,
}

/// The VM: a process, or a compute system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmRecord {
    /// Its pid, as the host sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its start time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// Its compute system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// Under which id the sockets of its compute system are reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
}

/// A helper process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HelperRecord {
    /// `passt` or `vhost-device-vsock`.
    pub name: String,
    /// Its pid, as the host sees it.
    pub pid: u32,
    /// Its start time.
    pub start_time: String,
}

/// What confines the VMM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfinementRecord {
    /// Whether a start without it was refused.
    pub required: bool,
    /// The parts in force.
    #[serde(default)]
    pub parts: Vec<String>,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitiatorRecord {
    /// `cli`, `library` or `other`.
    pub channel: String,
    /// On whose behalf; recorded, never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// An intent under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingRecord {
    /// The verb.
    pub verb: String,
    /// The request.
    pub request_id: RequestId,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<InitiatorRecord>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// Until when it is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Whether the guest has heard of it.
    #[serde(default)]
    pub acknowledged: bool,
}

/// A state to return to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestingRecord {
    state: String,
    reason: String,
}

/// The effective network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRecord {
    /// `nat`, `isolated` or `bridged`.
    pub mode: String,
    /// What carries it: `passt`, for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The guest's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceRecord>,
    /// Whether a quarantine has cut it.
    #[serde(default)]
    pub severed: bool,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The guest's network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceRecord {
    /// Its hardware address.
    pub mac: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
    /// Its gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<IpAddr>,
    /// Its IPv6 gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<IpAddr>,
    /// Its name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Its largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// The guest, from its hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestRecord {
    /// Its generation.
    pub generation: u32,
    /// The guest init's version.
    pub init_version: String,
    /// What it can do.
    #[serde(default)]
    pub features: Vec<String>,
    /// In which boot.
    pub boot_id: BootId,
}

/// How the VM ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShutdownRecord {
    /// By the guest's word: `halt`, `workload` or `guest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Whether every disk was unmounted.
    pub clean: bool,
    /// What ended it: `guest`, `sigterm`, `kill` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// The VMM's own exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmm: Option<VmmExitRecord>,
}

/// The VMM's own exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmmExitRecord {
    /// Its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// How the workload ended, by the guest's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// Its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What the guest added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When.
    pub ended_at: Timestamp,
    /// In which boot.
    pub boot_id: BootId,
}

/// A quarantine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineRecord {
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<InitiatorRecord>,
    /// Whether the vCPUs stand still.
    pub frozen: bool,
    /// Whether it is in force.
    pub active: bool,
    /// When it was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// What was cut and how that went.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub severed: Map<String, Value>,
}

/// A maintenance boot under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceRecord {
    /// Its boot.
    pub boot_id: BootId,
    /// `ro` or `rw`.
    pub access: String,
    /// Since when.
    pub since: Timestamp,
}

/// A runtime record that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeRecordError {
    /// A word that this version does not know.
    #[error("runtime record has a word that is not known")]
    Word(#[from] UnknownWord),
    /// An identity that can't be one.
    #[error("runtime record has an identity that can't be one")]
    Identity(#[from] InvalidIdentity),
}

impl RuntimeRecord {
    /// The record of a new workspace.
    pub fn prepared(now: Timestamp) -> Self {
        Self::resting(RestingState::Prepared, 0, now)
    }

    /// The record of a workspace whose own was lost.
    pub fn lost(boot_count: u64, now: Timestamp) -> Self {
        use microagent_machine::state::FailReason;
        Self::resting(
            RestingState::Failed(FailReason::RecordLost),
            boot_count,
            now,
        )
    }

    fn resting(state: RestingState, boot_count: u64, now: Timestamp) -> Self {
        Self {
            state: state.name().to_string(),
            reason: state.reason().to_owned(),
            state_since: now,
            detail: None,
            boot_count,
            maintenance_count: 0,
            boot: None,
            monitor: None,
            vm: None,
            helpers: Vec::new(),
            cgroup: None,
            run_folder: None,
            confinement: None,
            pending: None,
            resting_state: None,
            network: None,
            guest: None,
            files_delivered: None,
            shutdown: None,
            exit: None,
            quarantine: None,
            maintenance: None,
            updated_at: now,
        }
    }

    /// Enters a state, with its reason, the time and what else is to be said about it.
    ///
    /// The time of the state stays when state and reason do.
    pub fn enter(&mut self, state: State, now: Timestamp, detail: Option<String>) {
        if self.state != state.name().as_str() || self.reason != state.reason() {
            self.state_since = now;
        }
        state.name().as_str().clone_into(&mut self.state);
        state.reason().clone_into(&mut self.reason);
        self.detail = detail;
        self.resting_state = match state {
            State::Starting { before } => Some(RestingRecord {
                state: before.name().to_string(),
                reason: before.reason().to_owned(),
            }),
            _ => None,
        };
        if !state.is_live()
            && let Some(boot) = &mut self.boot
        {
            boot.ended_at.get_or_insert(now);
        }
        self.updated_at = now;
    }

    /// The state.
    pub fn state(&self) -> Result<State, RuntimeRecordError> {
        let name: StateName = self.state.parse()?;
        let before = match &self.resting_state {
            Some(resting) => Some(RestingState::from_words(
                resting.state.parse()?,
                &resting.reason,
            )?),
            None => None,
        };
        Ok(State::from_words(
            name,
            &self.reason,
            before,
            self.quarantined_vm(),
        )?)
    }

    /// Whether a quarantined workspace's VM is recorded as existing.
    fn quarantined_vm(&self) -> QuarantinedVm {
        let boots = self
            .boot
            .as_ref()
            .is_some_and(|boot| boot.ended_at.is_none());
        if self.vm.is_none() || !boots {
            return QuarantinedVm::Gone;
        }
        let frozen = self
            .quarantine
            .as_ref()
            .is_some_and(|quarantine| quarantine.frozen);
        QuarantinedVm::Living(if frozen {
            Vcpus::Frozen
        } else {
            Vcpus::Running
        })
    }

    /// Since when the state is what it is.
    pub fn state_since(&self) -> Timestamp {
        self.state_since
    }

    /// What else is to be said about the state.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The id of the current or last boot.
    pub fn boot_id(&self) -> Option<BootId> {
        self.boot.as_ref().map(|boot| boot.id)
    }

    /// The accelerator of the current or last boot.
    pub fn accelerator(&self) -> Option<Accelerator> {
        self.boot
            .as_ref()?
            .accelerator
            .as_deref()
            .and_then(Accelerator::from_word)
    }

    /// What the pure rules need of it. `vm_started` is what the history says of this boot.
    pub fn recorded(&self, vm_started: bool) -> Result<Recorded, RuntimeRecordError> {
        let pending: Option<PendingVerb> = self
            .pending
            .as_ref()
            .map(|pending| pending.verb.parse())
            .transpose()?;
        let exit = self
            .exit
            .as_ref()
            .filter(|exit| Some(exit.boot_id) == self.boot_id());
        Ok(Recorded {
            state: self.state()?,
            pending,
            shutdown: self.guest_shutdown()?,
            exit: exit.map(|exit| match exit.code {
                Some(0) => WorkloadEnd::Success,
                _ => WorkloadEnd::Failure,
            }),
            vm_started,
            maintenance: self.maintenance.is_some(),
            quarantined: self
                .quarantine
                .as_ref()
                .is_some_and(|quarantine| quarantine.active),
        })
    }

    fn guest_shutdown(&self) -> Result<Option<Shutdown>, RuntimeRecordError> {
        let Some(shutdown) = &self.shutdown else {
            return Ok(None);
        };
        let Some(cause) = &shutdown.cause else {
            return Ok(None);
        };
        let cause: ShutdownCause = cause.parse()?;
        let unmounted = if shutdown.clean {
            Unmounted::Clean
        } else {
            Unmounted::Unclean
        };
        Ok(Some(Shutdown { cause, unmounted }))
    }
}

impl MonitorRecord {
    /// Its identity.
    pub fn identity(&self) -> Result<ProcessIdentity, InvalidIdentity> {
        ProcessIdentity::from_recorded(self.pid, StartTime::from_recorded(&self.start_time)?)
    }

    /// The namespace in which its pid counts.
    pub fn namespace(&self) -> Option<PidNamespace> {
        self.pid_namespace.map(PidNamespace::from_recorded)
    }
}

impl VmRecord {
    /// A VM that is a process.
    pub fn of_process(handle: &ProcessHandle) -> Self {
        Self::of_identity(handle.identity())
    }

    /// A VM that is a process, by its identity.
    pub fn of_identity(identity: &ProcessIdentity) -> Self {
        Self {
            pid: Some(identity.pid()),
            start_time: Some(identity.start_time().as_str().to_owned()),
            system_id: None,
            runtime_id: None,
        }
    }

    /// Its identity, when it is a process.
    pub fn identity(&self) -> Result<Option<ProcessIdentity>, InvalidIdentity> {
        match (self.pid, &self.start_time) {
            (Some(pid), Some(start_time)) => {
                ProcessIdentity::from_recorded(pid, StartTime::from_recorded(start_time)?).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl HelperRecord {
    /// Its identity.
    pub fn identity(&self) -> Result<ProcessIdentity, InvalidIdentity> {
        ProcessIdentity::from_recorded(self.pid, StartTime::from_recorded(&self.start_time)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use microagent_machine::state::{FailReason, QuarantineReason, RunningReason, StopReason};

    pub(crate) fn at(second: u32) -> Timestamp {
        format!("2026-03-04T09:00:{second:02}.000Z")
            .parse()
            .unwrap()
    }

    pub(crate) fn boot() -> BootRecord {
        BootRecord {
            id: "01956f12-0be1-7c40-9f3a-2f61d0a4c7b8".parse().unwrap(),
            number: 1,
            host_boot_id: microagent_os::process::host_boot_id()
                .unwrap()
                .as_str()
                .to_owned(),
            started_at: at(1),
            ready_at: None,
            ended_at: None,
            accelerator: Some("emulation".to_owned()),
            engine_version: Some("7.2.0".to_owned()),
            memory_bytes: ByteSize::from_mib(512),
            cpus: VcpuCount::new(1).unwrap(),
            kernel_sha256: Sha256Hex::from_bytes([7; 32]),
            publish: Vec::new(),
            client_bound: false,
        }
    }

    fn again(record: &RuntimeRecord) -> RuntimeRecord {
        serde_json::from_slice(&serde_json::to_vec(record).unwrap()).unwrap()
    }

    #[test]
    fn a_state_survives_the_record_with_what_it_carries() {
        let before = RestingState::Stopped(StopReason::GuestPoweredOff);
        for state in [
            State::PREPARED,
            State::Starting { before },
            State::Running(RunningReason::Resumed),
            State::failed(FailReason::OutOfMemory),
        ] {
            let mut record = RuntimeRecord::prepared(at(0));
            record.enter(state, at(5), Some("why".to_owned()));
            let record = again(&record);
            assert_eq!(record.state().unwrap(), state);
            assert_eq!(record.detail(), Some("why"));
        }
    }

    #[test]
    fn the_time_of_a_state_is_when_it_was_entered() {
        let mut record = RuntimeRecord::prepared(at(0));
        record.enter(State::Halting, at(5), None);
        record.enter(State::Halting, at(9), Some("still".to_owned()));
        assert_eq!((record.state_since(), record.updated_at), (at(5), at(9)));
    }

    #[test]
    fn a_quarantined_vm_lives_as_long_as_its_boot() {
        let mut record = RuntimeRecord::prepared(at(0));
        record.boot = Some(boot());
        record.vm = Some(VmRecord {
            pid: Some(7),
            start_time: Some("8".to_owned()),
            system_id: None,
            runtime_id: None,
        });
        record.quarantine = Some(QuarantineRecord {
            at: at(2),
            note: None,
            initiator: None,
            frozen: true,
            active: true,
            released_at: None,
            severed: Map::new(),
        });
        let reason = QuarantineReason::Quarantined;
        let frozen = State::Quarantined {
            vm: QuarantinedVm::Living(Vcpus::Frozen),
            reason,
        };
        record.enter(frozen, at(2), None);
        assert_eq!(again(&record).state().unwrap(), frozen);
        let gone = State::Quarantined {
            vm: QuarantinedVm::Gone,
            reason: QuarantineReason::VmGone,
        };
        record.enter(gone, at(3), None);
        assert_eq!(again(&record).state().unwrap(), gone);
        assert_eq!(record.boot.unwrap().ended_at, Some(at(3)));
    }

    #[test]
    fn an_exit_of_an_earlier_boot_says_nothing_about_this_one() {
        let mut record = RuntimeRecord::prepared(at(0));
        record.boot = Some(boot());
        let exit = ExitRecord {
            code: Some(0),
            signal: None,
            message: None,
            ended_at: at(3),
            boot_id: boot().id,
        };
        record.exit = Some(exit.clone());
        assert_eq!(
            record.recorded(false).unwrap().exit,
            Some(WorkloadEnd::Success)
        );
        let other = "01956f40-1c22-7f00-8000-4a9b0c1d2e3f".parse().unwrap();
        record.exit = Some(ExitRecord {
            boot_id: other,
            ..exit
        });
        assert_eq!(record.recorded(false).unwrap().exit, None);
    }

    #[test]
    fn words_that_are_not_known_are_an_error_and_not_a_guess() {
        let mut record = RuntimeRecord::prepared(at(0));
        record.state = "resting".to_owned();
        assert!(record.state().is_err());
        let mut record = RuntimeRecord::prepared(at(0));
        record.reason = "running".to_owned();
        assert!(record.state().is_err());
    }
}
