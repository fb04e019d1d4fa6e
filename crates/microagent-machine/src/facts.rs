//! What was observed of a workspace, as plain values.
//!
//! Collected elsewhere, without judging; judged in [`crate::reconcile`] and [`crate::ending`].

use crate::state::State;
use crate::verb::PendingVerb;
use crate::words::words;

words! {
    /// Why a guest ended itself, by its own word.
    ShutdownCause, "a cause of a shutdown";
    /// It was asked to halt.
    Halt => "halt",
    /// Its workload ended.
    Workload => "workload",
    /// Powered off or rebooted from inside.
    Guest => "guest",
}

/// What the guest said before it ended itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Why.
    pub cause: ShutdownCause,
    /// Whether every disk was unmounted.
    pub unmounted: Unmounted,
}

/// How the disks were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// All of them, or remounted read-only.
    Clean,
    /// At least one was left in use.
    Unclean,
}

/// How a workload ended, by the guest's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadEnd {
    /// With code 0.
    Success,
    /// With another code, or by a signal.
    Failure,
}

/// What the runtime record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The state.
    pub state: State,
    /// The intent under way.
    pub pending: Option<PendingVerb>,
    /// The guest's last word in this boot.
    pub shutdown: Option<Shutdown>,
    /// How the workload of this boot ended, if it has.
    pub exit: Option<WorkloadEnd>,
    /// Whether the history has `vm_started` for this boot.
    pub vm_started: bool,
    /// Whether a maintenance boot is recorded.
    pub maintenance: bool,
    /// Whether a quarantine is in force. It is recorded before anything is cut, and so before the state
    /// says it.
    pub quarantined: bool,
}

/// The runtime record, if it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFact {
    /// It can.
    Readable(Recorded),
    /// It is missing, torn or makes no sense.
    Unreadable,
}

/// Whether the host is in the boot that the record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostBoot {
    /// It is, or nothing was booted yet.
    Same,
    /// It is in another: every recorded pid is void, no VM and no monitor live, locks are free.
    Changed,
}

/// Whether a monitor holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// One does.
    Held,
    /// None does.
    Free,
}

/// Whether the monitor answers within its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitor {
    /// It does.
    Answers,
    /// It does not.
    Silent,
}

/// Whether the recorded VM lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmFact {
    /// The recorded one does.
    Alive,
    /// It does not: none was recorded, it ended, it is a zombie, or its pid is somebody else's.
    Gone,
    /// It can't be told: its start time can't be read, or pids are counted in another namespace.
    Unknown,
}

/// Everything that reconciliation looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The runtime record.
    pub record: RecordFact,
    /// The host's boot.
    pub host_boot: HostBoot,
    /// The lease.
    pub lease: Lease,
    /// The monitor. Only asked when the lease is held.
    pub monitor: Monitor,
    /// The VM.
    pub vm: VmFact,
}

impl Facts {
    /// The facts with what a new boot of the host implies: nothing lives, nothing is held.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if self.host_boot == HostBoot::Changed {
            self.lease = Lease::Free;
            self.monitor = Monitor::Silent;
            self.vm = VmFact::Gone;
        }
        if self.lease == Lease::Free {
            self.monitor = Monitor::Silent;
        }
        self
    }
}
