//! What a crash may have left, judged: facts in, verdict out, row by row, the first that fits.
//!
//! Nothing here signals, writes or waits; a verdict says what is to be done by whoever holds the
//! lock. On doubt it leaves things as they are and says that they are stale. The rows are numbered
//! as on the protocol page.

use crate::facts::{
    Facts, HostBoot, Lease, Monitor, RecordFact, Recorded, ShutdownCause, Unmounted, VmFact,
    WorkloadEnd,
};
use crate::state::{FailReason, QuarantineReason, QuarantinedVm, State, StopReason};
use crate::verb::PendingVerb;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Row 1: the monitor writes the record anew from memory.
    MonitorRestoresRecord,
    /// Row 2: the record is moved aside; `failed`, `record_lost`. Nothing is signalled. Only with
    /// leave to repair.
    RecordLost,
    /// Row 3: the monitor's answer is the truth.
    TrustMonitor,
    /// Rows 4 and 18, and whatever can't be told.
    Unchanged(Freshness),
    /// Row 5: the monitor is finishing. Wait for the lease; when it stays held, as row 4.
    MonitorFinishing,
    /// Row 6: the VM is ended through a checked handle, then this is recorded.
    EndUnownedVm(Outcome),
    /// Rows 7 to 15: this is recorded.
    Becomes(Outcome),
    /// Row 16: the maintenance VM, if it lives, is ended through a checked handle; then
    /// `maintenance` is cleared. The state stays.
    ClearMaintenance,
    /// Row 17: a resting workspace whose VM lives. Nothing is signalled by itself.
    Contradiction,
}

/// Whether what is recorded is known to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Current,
    /// It could not be checked.
    Stale,
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The state.
    pub state: State,
    /// Whether a quarantine is released by it.
    pub release: Release,
}

/// What becomes of an active quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It is released; the mark stays, no longer active.
    Released,
    /// It stays.
    Kept,
}

impl Verdict {
    /// The word in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MonitorRestoresRecord => "record_restored",
            Self::RecordLost => "record_lost",
            Self::TrustMonitor | Self::Unchanged(Freshness::Current) => "unchanged",
            Self::Unchanged(Freshness::Stale) => "stale",
            Self::MonitorFinishing => "finishing",
            Self::EndUnownedVm(_) => "vm_ended",
            Self::Becomes(_) => "recorded",
            Self::ClearMaintenance => "maintenance_cleared",
            Self::Contradiction => "contradiction",
        }
    }
}

/// Judges.
pub fn reconcile(facts: Facts) -> Verdict {
    let facts = facts.settled();
    let recorded = match facts.record {
        RecordFact::Unreadable => {
            return match (facts.lease, facts.monitor) {
                (Lease::Held, Monitor::Answers) => Verdict::MonitorRestoresRecord,
                _ => Verdict::RecordLost,
            };
        }
        RecordFact::Readable(recorded) => recorded,
    };
    if facts.lease == Lease::Held && facts.monitor == Monitor::Answers {
        return Verdict::TrustMonitor;
    }
    // A maintenance boot rests by its state, but its VM has a monitor like any other.
    let expects_vm = recorded.state.is_live() || recorded.maintenance;
    match (facts.lease, facts.vm) {
        (Lease::Held, VmFact::Alive | VmFact::Unknown) if expects_vm => {
            Verdict::Unchanged(Freshness::Stale)
        }
        (Lease::Held, VmFact::Gone) if expects_vm => Verdict::MonitorFinishing,
        (Lease::Free, VmFact::Unknown) if expects_vm => Verdict::Unchanged(Freshness::Stale),
        (Lease::Free, VmFact::Alive) if recorded.state.is_live() => {
            // Its owner died, so it did not die by itself.
            Verdict::EndUnownedVm(outcome_without_vm(recorded, FailReason::MonitorDied))
        }
        (Lease::Free, VmFact::Gone) if recorded.state.is_live() => {
            let otherwise = match facts.host_boot {
                HostBoot::Changed => FailReason::HostRebooted,
                HostBoot::Same => FailReason::VmDied,
            };
            Verdict::Becomes(outcome_without_vm(recorded, otherwise))
        }
        (Lease::Free, VmFact::Alive | VmFact::Gone) if recorded.maintenance => {
            Verdict::ClearMaintenance
        }
        (_, VmFact::Alive) => Verdict::Contradiction,
        _ => Verdict::Unchanged(Freshness::Current),
    }
}

/// Rows 7 to 15, for a live state whose VM is gone. `otherwise` is the reason when nothing
/// explains the end.
fn outcome_without_vm(recorded: Recorded, otherwise: FailReason) -> Outcome {
    let released = |state| Outcome {
        state,
        release: Release::Released,
    };
    let kept = |state| Outcome {
        state,
        release: Release::Kept,
    };
    match recorded.pending {
        Some(PendingVerb::Stop) => return released(State::stopped(StopReason::Stopped)),
        Some(PendingVerb::Kill) => return released(State::stopped(StopReason::Killed)),
        _ => {}
    }
    let halt_under_way = match recorded.state {
        State::Halting if !recorded.quarantined => true,
        State::Halting | State::Quarantined { .. } => recorded.pending == Some(PendingVerb::Halt),
        _ => false,
    };
    match recorded.shutdown {
        Some(shutdown) if halt_under_way && shutdown.cause == ShutdownCause::Halt => {
            return released(match shutdown.unmounted {
                Unmounted::Clean => State::HALTED,
                Unmounted::Unclean => State::stopped(StopReason::UnmountFailed),
            });
        }
        _ => {}
    }
    if recorded.quarantined || matches!(recorded.state, State::Quarantined { .. }) {
        return kept(State::Quarantined {
            vm: QuarantinedVm::Gone,
            reason: QuarantineReason::VmGone,
        });
    }
    match recorded.state {
        State::Starting { .. } if recorded.vm_started => {
            kept(State::failed(FailReason::BootFailed))
        }
        State::Starting { before } => kept(State::Resting(before)),
        State::Running(_)
        | State::Paused
        | State::Halting
        | State::Quarantined { .. }
        | State::Resting(_) => kept(match (recorded.exit, recorded.shutdown) {
            (Some(WorkloadEnd::Success), _) => State::stopped(StopReason::WorkloadExited),
            (Some(WorkloadEnd::Failure), _) => State::failed(FailReason::WorkloadFailed),
            (None, Some(shutdown)) if shutdown.cause == ShutdownCause::Guest => {
                State::stopped(StopReason::GuestPoweredOff)
            }
            (None, _) if recorded.state == State::Halting => {
                State::failed(FailReason::HaltInterrupted)
            }
            (None, _) => State::failed(otherwise),
        }),
    }
}

#[cfg(test)]
mod tests;
