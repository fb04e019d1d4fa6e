//! The table of states and commands: what a command means in the state that is found.
//!
//! A row is a verb, a column a [`Situation`]; a cell is a plan, nothing to do, a wait, or a named
//! refusal that says what would help. There is no lock, clock or socket in here, so every cell is
//! a test.

use crate::plan::{GuestSync, Plan};
use crate::state::{QuarantinedVm, RestingState, RunningReason, State, StateName, Vcpus};
use crate::verb::{Freeze, Verb};

/// The columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Situation {
    /// No workspace of that name.
    Absent,
    /// One in this state, no maintenance boot under way.
    Present(State),
    /// A resting one whose disk a maintenance boot has.
    InMaintenance(RestingState),
}

/// What a command means here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Do this.
    Do(Plan),
    /// It is so already: success, nothing changed.
    NothingToDo,
    /// Wait within the act's own deadline, then ask again.
    Wait(WaitFor),
    /// It is not to be done.
    Refused(Refusal),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// The boot under way is ready or has failed.
    Ready,
    /// The halt under way has ended the VM.
    End,
}

/// Why a command is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such workspace.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The state refuses; what would help.
    WrongState {
        /// The state that refuses.
        state: StateName,
        /// What would help, if anything does.
        remedy: Remedy,
    },
    /// A maintenance boot runs.
    MaintenanceRuns,
}

/// What a refusal names as help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing but another workspace, or time.
    None,
    /// `start` first.
    Start,
    /// `resume` first.
    Resume,
    /// `resume`, or `stop`.
    ResumeOrStop,
    /// It is under way; wait for it.
    Wait,
    /// Use `exec`.
    Exec,
    /// Read `logs`.
    Logs,
    /// `halt` first.
    Halt,
    /// `stop` it.
    Stop,
    /// `halt` or `kill` first.
    HaltOrKill,
    /// `halt`, `stop` or `kill` first.
    HaltStopOrKill,
    /// `quarantine --freeze` does what is meant.
    QuarantineFreeze,
}

impl Situation {
    /// True when a VM is recorded as existing.
    pub const fn vm_lives(self) -> bool {
        match self {
            Self::Absent => false,
            Self::Present(state) => state.is_live(),
            Self::InMaintenance(_) => true,
        }
    }
}

/// Decides.
pub fn admit(verb: Verb, situation: Situation) -> Admission {
    match situation {
        Situation::Absent => admit_absent(verb),
        Situation::InMaintenance(_) => admit_in_maintenance(verb),
        Situation::Present(state) => admit_present(verb, state),
    }
}

fn admit_absent(verb: Verb) -> Admission {
    match verb {
        Verb::Prepare => Admission::Do(Plan::Prepare),
        Verb::Delete => Admission::Do(Plan::SweepLeftovers),
        _ => Admission::Refused(Refusal::NotFound),
    }
}

fn admit_in_maintenance(verb: Verb) -> Admission {
    match verb {
        Verb::Inspect => Admission::Do(Plan::Read),
        Verb::Stop | Verb::Kill => Admission::Do(Plan::EndMaintenance),
        Verb::Quarantine(_) => Admission::Do(Plan::EndMaintenanceAndMark),
        _ => Admission::Refused(Refusal::MaintenanceRuns),
    }
}

fn admit_present(verb: Verb, state: State) -> Admission {
    let refuse = |remedy| {
        Admission::Refused(Refusal::WrongState {
            state: state.name(),
            remedy,
        })
    };
    match verb {
        Verb::Prepare => Admission::Refused(Refusal::AlreadyExists),
        Verb::Inspect => Admission::Do(Plan::Read),
        Verb::Reconcile => Admission::Do(Plan::Reconcile),
        Verb::Start => start(state, &refuse),
        Verb::Run => run(state, &refuse),
        Verb::Maintenance => maintenance(state, &refuse),
        Verb::Session(kind) => match guest_access(state, &refuse) {
            Ok(()) => Admission::Do(Plan::OpenSession(kind)),
            Err(other) => other,
        },
        Verb::Serial => serial(state, &refuse),
        Verb::Copy => match (state, guest_access(state, &refuse)) {
            (State::Resting(_), _) => Admission::Do(Plan::CopyByMaintenance),
            (_, Ok(())) => Admission::Do(Plan::CopyLive),
            (_, Err(other)) => other,
        },
        Verb::Halt => halt(state, &refuse),
        Verb::Stop => stop(state),
        Verb::Kill => kill(state),
        Verb::Pause => pause(state, &refuse),
        Verb::Resume => resume(state, &refuse),
        Verb::Quarantine(freeze) => quarantine(state, freeze),
        Verb::Delete => delete(state, &refuse),
    }
}

type Refuse<'a> = &'a dyn Fn(Remedy) -> Admission;

fn start(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(before) => Admission::Do(Plan::Boot { before }),
        State::Starting { .. } => Admission::Wait(WaitFor::Ready),
        State::Running(_) => Admission::NothingToDo,
        State::Paused => refuse(Remedy::Resume),
        State::Halting => refuse(Remedy::Wait),
        State::Quarantined { .. } => refuse(Remedy::HaltStopOrKill),
    }
}

fn run(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(before) => Admission::Do(Plan::RunInForeground { before }),
        State::Running(_) => refuse(Remedy::Exec),
        State::Starting { .. } | State::Paused | State::Halting | State::Quarantined { .. } => {
            refuse(Remedy::None)
        }
    }
}

fn maintenance(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(_) => Admission::Do(Plan::BootForMaintenance),
        State::Quarantined { .. } => refuse(Remedy::HaltStopOrKill),
        State::Starting { .. } | State::Running(_) | State::Paused | State::Halting => {
            refuse(Remedy::Halt)
        }
    }
}

/// Whether the guest's services can be used; otherwise the answer.
fn guest_access(state: State, refuse: Refuse<'_>) -> Result<(), Admission> {
    match state {
        State::Running(RunningReason::Ready | RunningReason::Resumed) => Ok(()),
        State::Starting { .. } => Err(Admission::Wait(WaitFor::Ready)),
        State::Paused => Err(refuse(Remedy::Resume)),
        State::Halting => Err(refuse(Remedy::None)),
        State::Resting(_) => Err(refuse(Remedy::Start)),
        State::Quarantined { .. } => Err(refuse(Remedy::Halt)),
    }
}

fn serial(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Starting { .. } | State::Running(_) | State::Halting => {
            Admission::Do(Plan::AttachSerial)
        }
        State::Paused => refuse(Remedy::Resume),
        State::Resting(RestingState::Prepared) => refuse(Remedy::Start),
        State::Resting(_) | State::Quarantined { .. } => refuse(Remedy::Logs),
    }
}

fn halt(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(_) => Admission::NothingToDo,
        State::Starting { .. } => Admission::Wait(WaitFor::Ready),
        State::Running(_) => Admission::Do(Plan::Halt),
        State::Paused => refuse(Remedy::ResumeOrStop),
        State::Halting => Admission::Wait(WaitFor::End),
        State::Quarantined { vm, .. } => match vm {
            QuarantinedVm::Living(Vcpus::Running) => Admission::Do(Plan::Halt),
            QuarantinedVm::Living(Vcpus::Frozen) => refuse(Remedy::Stop),
            QuarantinedVm::Gone => Admission::Do(Plan::ReleaseWithoutVm),
        },
    }
}

fn stop(state: State) -> Admission {
    match state {
        State::Resting(_) => Admission::NothingToDo,
        State::Starting { .. } | State::Paused => Admission::Do(Plan::Stop(GuestSync::Skip)),
        State::Running(_) | State::Halting => Admission::Do(Plan::Stop(GuestSync::Ask)),
        State::Quarantined { vm, .. } => Admission::Do(match vm {
            QuarantinedVm::Living(Vcpus::Running) => Plan::Stop(GuestSync::Ask),
            QuarantinedVm::Living(Vcpus::Frozen) => Plan::Stop(GuestSync::Skip),
            QuarantinedVm::Gone => Plan::ReleaseWithoutVm,
        }),
    }
}

fn kill(state: State) -> Admission {
    match state {
        State::Resting(_) => Admission::NothingToDo,
        State::Quarantined {
            vm: QuarantinedVm::Gone,
            ..
        } => Admission::Do(Plan::ReleaseWithoutVm),
        State::Starting { .. }
        | State::Running(_)
        | State::Paused
        | State::Halting
        | State::Quarantined { .. } => Admission::Do(Plan::Kill),
    }
}

fn pause(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(_) => refuse(Remedy::Start),
        State::Starting { .. } => refuse(Remedy::Wait),
        State::Running(_) => Admission::Do(Plan::Pause),
        State::Paused => Admission::NothingToDo,
        State::Halting => refuse(Remedy::None),
        State::Quarantined {
            vm: QuarantinedVm::Living(_),
            ..
        } => refuse(Remedy::QuarantineFreeze),
        State::Quarantined {
            vm: QuarantinedVm::Gone,
            ..
        } => refuse(Remedy::None),
    }
}

fn resume(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(_) => refuse(Remedy::Start),
        State::Running(_) => Admission::NothingToDo,
        State::Paused => Admission::Do(Plan::Resume),
        State::Starting { .. } | State::Halting | State::Quarantined { .. } => refuse(Remedy::None),
    }
}

fn quarantine(state: State, freeze: Freeze) -> Admission {
    match state {
        State::Resting(_) => Admission::Do(Plan::MarkOnly),
        State::Starting { .. } | State::Running(_) | State::Paused | State::Halting => {
            Admission::Do(Plan::Sever(freeze))
        }
        State::Quarantined { vm, .. } => match (vm, freeze) {
            (QuarantinedVm::Living(Vcpus::Running), Freeze::Yes) => {
                Admission::Do(Plan::FreezeSevered)
            }
            (QuarantinedVm::Living(_) | QuarantinedVm::Gone, _) => Admission::NothingToDo,
        },
    }
}

fn delete(state: State, refuse: Refuse<'_>) -> Admission {
    match state {
        State::Resting(_)
        | State::Quarantined {
            vm: QuarantinedVm::Gone,
            ..
        } => Admission::Do(Plan::Delete),
        State::Starting { .. } | State::Quarantined { .. } => refuse(Remedy::HaltOrKill),
        State::Running(_) | State::Paused | State::Halting => refuse(Remedy::HaltStopOrKill),
    }
}

#[cfg(test)]
mod tests;
