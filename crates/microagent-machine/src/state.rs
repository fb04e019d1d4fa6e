//! The states of a workspace, with what exists in each, and which may follow which.
//!
//! ```text
//!  prepared ─┐                      ┌─ paused
//!  halted   ─┤                      ↕
//!  stopped  ─┼─► starting ─────► running ─► halting
//!  failed   ─┘      │               │          │
//!     ▲             ▼               ▼          ▼
//!     └──────── any resting state ◄────────────┘      quarantined: from anywhere;
//!                                                     left only by halt, stop or kill
//! ```
//!
//! A state that can be resting or live carries which it is, so no reader has to guess whether a VM
//! should exist.

use crate::words::{UnknownWord, words};

words! {
    /// The state alone, without what it carries.
    StateName, "a state";
    /// Recorded, never booted.
    Prepared => "prepared",
    /// A boot was begun and is not ready.
    Starting => "starting",
    /// The guest said ready.
    Running => "running",
    /// vCPUs stopped by request, memory kept.
    Paused => "paused",
    /// The guest has acknowledged a halt and has not ended.
    Halting => "halting",
    /// Shut down by `halt`, disks unmounted.
    Halted => "halted",
    /// Ended otherwise and without fault.
    Stopped => "stopped",
    /// Ended with a fault, or could not boot.
    Failed => "failed",
    /// Severed for forensics.
    Quarantined => "quarantined",
}

words! {
    /// How a running workspace became so.
    RunningReason, "a reason of `running`";
    /// The guest said ready.
    Ready => "ready",
    /// Its vCPUs were thawed.
    Resumed => "resumed",
}

words! {
    /// Why a workspace is stopped.
    StopReason, "a reason of `stopped`";
    /// Asked to, and it went in time.
    Stopped => "stopped",
    /// Asked to, and it had to be killed.
    StopEscalated => "stop_escalated",
    /// Killed by request.
    Killed => "killed",
    /// Its workload ended with code 0.
    WorkloadExited => "workload_exited",
    /// It was powered off from inside.
    GuestPoweredOff => "guest_powered_off",
    /// It was halted, but a disk could not be unmounted.
    UnmountFailed => "unmount_failed",
    /// The wait for its start was interrupted.
    Interrupted => "interrupted",
    /// The client it was bound to went away.
    ClientGone => "client_gone",
    /// It was released from quarantine after its VM had gone.
    VmGone => "vm_gone",
}

words! {
    /// Why a workspace is failed.
    FailReason, "a reason of `failed`";
    /// The guest said so, or the VMM ended before it was ready.
    BootFailed => "boot_failed",
    /// A deadline of the boot ran out.
    GuestUnresponsive => "guest_unresponsive",
    /// Its workload ended with a code other than 0, or by a signal.
    WorkloadFailed => "workload_failed",
    /// The VM ended without being asked.
    VmDied => "vm_died",
    /// The host's memory ran out and the kernel chose the VMM.
    OutOfMemory => "out_of_memory",
    /// Its monitor ended first.
    MonitorDied => "monitor_died",
    /// The host was started anew.
    HostRebooted => "host_rebooted",
    /// It ended in the middle of a halt.
    HaltInterrupted => "halt_interrupted",
    /// Its record could not be read.
    RecordLost => "record_lost",
}

words! {
    /// Why a workspace is quarantined.
    QuarantineReason, "a reason of `quarantined`";
    /// By request.
    Quarantined => "quarantined",
    /// By request, and its VM has ended since.
    VmGone => "vm_gone",
}

/// A state without a VM that a start can begin from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestingState {
    /// Recorded, never booted.
    Prepared,
    /// Shut down in order.
    Halted,
    /// Ended without fault.
    Stopped(StopReason),
    /// Ended with a fault.
    Failed(FailReason),
}

/// Whether the VM of a quarantined workspace is recorded as existing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuarantinedVm {
    /// It exists; its vCPUs may be stopped.
    Living(Vcpus),
    /// There is none.
    Gone,
}

/// Whether virtual CPUs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vcpus {
    /// They run.
    Running,
    /// They were stopped.
    Frozen,
}

/// What a workspace is, with what exists then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Without a VM.
    Resting(RestingState),
    /// Booting; where to return to when the VM is never launched.
    Starting {
        /// What it was before.
        before: RestingState,
    },
    /// Ready.
    Running(RunningReason),
    /// vCPUs stopped.
    Paused,
    /// Shutting down.
    Halting,
    /// Severed.
    Quarantined {
        /// Whether its VM exists.
        vm: QuarantinedVm,
        /// Why it is as it is.
        reason: QuarantineReason,
    },
}

impl State {
    /// Recorded, never booted.
    pub const PREPARED: Self = Self::Resting(RestingState::Prepared);
    /// Shut down in order.
    pub const HALTED: Self = Self::Resting(RestingState::Halted);

    /// Stopped for a reason.
    pub const fn stopped(reason: StopReason) -> Self {
        Self::Resting(RestingState::Stopped(reason))
    }

    /// Failed for a reason.
    pub const fn failed(reason: FailReason) -> Self {
        Self::Resting(RestingState::Failed(reason))
    }

    /// The state alone.
    pub const fn name(self) -> StateName {
        match self {
            Self::Resting(resting) => resting.name(),
            Self::Starting { .. } => StateName::Starting,
            Self::Running(_) => StateName::Running,
            Self::Paused => StateName::Paused,
            Self::Halting => StateName::Halting,
            Self::Quarantined { .. } => StateName::Quarantined,
        }
    }

    /// The word of its reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Resting(resting) => resting.reason(),
            Self::Starting { .. } => "start_requested",
            Self::Running(reason) => reason.as_str(),
            Self::Paused => "paused",
            Self::Halting => "halt_requested",
            Self::Quarantined { reason, .. } => reason.as_str(),
        }
    }

    /// True for a state in which a VM should exist.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Resting(_)
            | Self::Quarantined {
                vm: QuarantinedVm::Gone,
                ..
            } => false,
            Self::Starting { .. }
            | Self::Running(_)
            | Self::Paused
            | Self::Halting
            | Self::Quarantined {
                vm: QuarantinedVm::Living(_),
                ..
            } => true,
        }
    }

    /// The resting state, when it is one. A quarantine without a VM is not one that can start.
    pub const fn resting(self) -> Option<RestingState> {
        match self {
            Self::Resting(resting) => Some(resting),
            _ => None,
        }
    }

    /// Whether the vCPUs are recorded as stopped.
    pub const fn is_frozen(self) -> bool {
        matches!(
            self,
            Self::Paused
                | Self::Quarantined {
                    vm: QuarantinedVm::Living(Vcpus::Frozen),
                    ..
                }
        )
    }

    /// From the words of a record and what else it says.
    pub fn from_words(
        name: StateName,
        reason: &str,
        before: Option<RestingState>,
        quarantined_vm: QuarantinedVm,
    ) -> Result<Self, UnknownWord> {
        let expect = |word: &'static str, what: &'static str, state: Self| {
            if reason == word {
                Ok(state)
            } else {
                Err(UnknownWord::new(what, reason))
            }
        };
        match name {
            StateName::Prepared | StateName::Halted | StateName::Stopped | StateName::Failed => {
                RestingState::from_words(name, reason).map(Self::Resting)
            }
            StateName::Starting => {
                let before = before.unwrap_or(RestingState::Prepared);
                expect(
                    "start_requested",
                    "a reason of `starting`",
                    Self::Starting { before },
                )
            }
            StateName::Running => reason.parse().map(Self::Running),
            StateName::Paused => expect("paused", "a reason of `paused`", Self::Paused),
            StateName::Halting => expect("halt_requested", "a reason of `halting`", Self::Halting),
            StateName::Quarantined => reason.parse().map(|reason| Self::Quarantined {
                vm: quarantined_vm,
                reason,
            }),
        }
    }

    /// Whether this state may be followed by `next` without something else in between. A state may
    /// always be recorded again.
    pub fn may_become(self, next: Self) -> bool {
        if self == next {
            return true;
        }
        match (self, next) {
            // Nothing is ever unbooted.
            (Self::Starting { before }, Self::Resting(RestingState::Prepared)) => {
                before == RestingState::Prepared
            }
            (_, Self::Resting(RestingState::Prepared)) => false,
            // What has no VM can only begin one, be marked, or lose its record.
            (Self::Resting(from), Self::Starting { before }) => from == before,
            (
                Self::Resting(_),
                Self::Quarantined {
                    vm: QuarantinedVm::Gone,
                    ..
                },
            ) => true,
            (Self::Resting(_), next) => next == Self::failed(FailReason::RecordLost),
            (Self::Starting { .. }, Self::Running(reason)) => reason == RunningReason::Ready,
            (Self::Running(_), Self::Paused) => true,
            (Self::Paused, Self::Running(reason)) => reason == RunningReason::Resumed,
            // A halt goes through the guest, which a paused workspace does not hear.
            (Self::Running(_), Self::Halting) => true,
            (
                Self::Quarantined {
                    vm: QuarantinedVm::Living(from),
                    ..
                },
                Self::Quarantined { vm: to, .. },
            ) => match to {
                QuarantinedVm::Gone => true,
                // It never thaws.
                QuarantinedVm::Living(to) => from == Vcpus::Running || to == Vcpus::Frozen,
            },
            (
                Self::Quarantined {
                    vm: QuarantinedVm::Gone,
                    ..
                },
                next,
            ) => {
                next == Self::stopped(StopReason::VmGone)
                    || next == Self::failed(FailReason::RecordLost)
            }
            // The severed VM of a frozen workspace can't answer a halt.
            (live, Self::Resting(RestingState::Halted)) => !live.is_frozen(),
            (live, Self::Resting(_) | Self::Quarantined { .. }) => live.is_live(),
            _ => false,
        }
    }
}

impl RestingState {
    /// The state alone.
    pub const fn name(self) -> StateName {
        match self {
            Self::Prepared => StateName::Prepared,
            Self::Halted => StateName::Halted,
            Self::Stopped(_) => StateName::Stopped,
            Self::Failed(_) => StateName::Failed,
        }
    }

    /// The word of its reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Prepared => "created",
            Self::Halted => "halted",
            Self::Stopped(reason) => reason.as_str(),
            Self::Failed(reason) => reason.as_str(),
        }
    }

    /// From the words of a record.
    pub fn from_words(name: StateName, reason: &str) -> Result<Self, UnknownWord> {
        let unknown = |what| Err(UnknownWord::new(what, reason));
        match name {
            StateName::Prepared if reason == "created" => Ok(Self::Prepared),
            StateName::Prepared => unknown("a reason of `prepared`"),
            StateName::Halted if reason == "halted" => Ok(Self::Halted),
            StateName::Halted => unknown("a reason of `halted`"),
            StateName::Stopped => reason.parse().map(Self::Stopped),
            StateName::Failed => reason.parse().map(Self::Failed),
            StateName::Starting
            | StateName::Running
            | StateName::Paused
            | StateName::Halting
            | StateName::Quarantined => Err(UnknownWord::new("a resting state", name.as_str())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every state there is.
    pub(crate) fn every_state() -> Vec<State> {
        let mut resting = vec![RestingState::Prepared, RestingState::Halted];
        resting.extend(StopReason::ALL.iter().copied().map(RestingState::Stopped));
        resting.extend(FailReason::ALL.iter().copied().map(RestingState::Failed));
        let mut states: Vec<State> = resting.iter().copied().map(State::Resting).collect();
        states.extend(
            resting
                .iter()
                .map(|before| State::Starting { before: *before }),
        );
        states.extend(RunningReason::ALL.iter().copied().map(State::Running));
        states.extend([State::Paused, State::Halting]);
        for vm in [
            QuarantinedVm::Living(Vcpus::Running),
            QuarantinedVm::Living(Vcpus::Frozen),
            QuarantinedVm::Gone,
        ] {
            for reason in QuarantineReason::ALL {
                states.push(State::Quarantined {
                    vm,
                    reason: *reason,
                });
            }
        }
        states
    }

    #[test]
    fn every_state_is_read_back_from_its_words() {
        for state in every_state() {
            let before = match state {
                State::Starting { before } => Some(before),
                _ => None,
            };
            let vm = match state {
                State::Quarantined { vm, .. } => vm,
                _ => QuarantinedVm::Gone,
            };
            let name = state.name().as_str().parse().unwrap();
            assert_eq!(
                State::from_words(name, state.reason(), before, vm).unwrap(),
                state
            );
        }
    }

    #[test]
    fn a_reason_of_another_state_is_refused() {
        for name in StateName::ALL {
            assert!(
                State::from_words(*name, "oom", None, QuarantinedVm::Gone).is_err(),
                "{name}"
            );
        }
        let read = State::from_words(StateName::Failed, "killed", None, QuarantinedVm::Gone);
        assert!(read.is_err());
    }

    #[test]
    fn a_resting_state_lives_only_through_a_start() {
        for from in every_state() {
            for to in every_state() {
                if !from.is_live() && to.is_live() && from.may_become(to) {
                    assert!(
                        matches!(to, State::Starting { before } if
                        State::Resting(before) == from),
                        "{from:?} -> {to:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn quarantine_is_left_only_for_an_end() {
        for from in every_state() {
            for to in every_state() {
                if from.name() == StateName::Quarantined && from.may_become(to) {
                    assert!(
                        to.name() == StateName::Quarantined || to.resting().is_some(),
                        "{from:?} -> {to:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_live_state_can_end_and_can_be_quarantined() {
        let killed = State::stopped(StopReason::Killed);
        for state in every_state().into_iter().filter(|state| state.is_live()) {
            assert!(state.may_become(killed), "{state:?}");
            let vm = QuarantinedVm::Living(Vcpus::Frozen);
            let reason = QuarantineReason::Quarantined;
            assert!(
                state.may_become(State::Quarantined { vm, reason }),
                "{state:?}"
            );
        }
    }

    #[test]
    fn nothing_becomes_prepared_again_but_a_start_that_never_launched() {
        for state in every_state() {
            let back = State::Starting {
                before: RestingState::Prepared,
            };
            let may = state == State::PREPARED || state == back;
            assert_eq!(state.may_become(State::PREPARED), may, "{state:?}");
        }
    }
}
