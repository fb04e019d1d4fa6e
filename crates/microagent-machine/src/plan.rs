//! What is to be done, once it was decided that something is.
//!
//! A plan is a value: whoever performs it looks at nothing else to find out what was meant.

use crate::state::RestingState;
use crate::verb::{Freeze, SessionKind};

/// An admitted act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Make the records of a new workspace.
    Prepare,
    /// Make the records, then run in the foreground.
    PrepareAndRun,
    /// Boot; return to `before` when the VM is never launched.
    Boot {
        /// The state to record anew when the launch is refused.
        before: RestingState,
    },
    /// Boot, run one command in the foreground, end.
    RunInForeground {
        /// As in [`Plan::Boot`].
        before: RestingState,
    },
    /// Boot for copies only; state and reason stay.
    BootForMaintenance,
    /// Read and answer.
    Read,
    /// Open a session through the monitor.
    OpenSession(SessionKind),
    /// Attach to the serial port through the monitor.
    AttachSerial,
    /// Copy through the monitor.
    CopyLive,
    /// Copy by a boot for maintenance.
    CopyByMaintenance,
    /// Ask the guest to shut down.
    Halt,
    /// Sync as told, signal, kill after the limit.
    Stop(GuestSync),
    /// Kill.
    Kill,
    /// End the maintenance boot; the state stays.
    EndMaintenance,
    /// Nothing to end: record `stopped`, `vm_gone`, and release the quarantine.
    ReleaseWithoutVm,
    /// Stop the vCPUs.
    Pause,
    /// Let them go on.
    Resume,
    /// Sever a VM that lives.
    Sever(Freeze),
    /// Stop the vCPUs of a VM that was severed before.
    FreezeSevered,
    /// Mark a workspace that has no VM.
    MarkOnly,
    /// End the maintenance boot, then mark.
    EndMaintenanceAndMark,
    /// Remove the workspace.
    Delete,
    /// Sweep what a delete or create of that name left.
    SweepLeftovers,
    /// Apply the rules after a crash and clean up.
    Reconcile,
}

/// Whether the guest is asked to sync before it is signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestSync {
    /// It is.
    Ask,
    /// It could not answer.
    Skip,
}
