//! The published table, cell by cell. A cell here is written as it stands on the page, so that the
//! two can be laid beside each other; `cell` turns the answer of the code into the same words.

use super::*;
use crate::state::{FailReason, QuarantineReason, StopReason};
use crate::verb::SessionKind;

fn quarantined(vm: QuarantinedVm) -> Situation {
    Situation::Present(State::Quarantined {
        vm,
        reason: QuarantineReason::Quarantined,
    })
}

/// The columns of the page, in its order; the second half of `quarantined, VM lives` is frozen.
fn columns() -> [Situation; 10] {
    [
        Situation::Absent,
        Situation::Present(State::PREPARED),
        Situation::Present(State::Starting {
            before: RestingState::Halted,
        }),
        Situation::Present(State::Running(RunningReason::Ready)),
        Situation::Present(State::Paused),
        Situation::Present(State::Halting),
        Situation::Present(State::HALTED),
        quarantined(QuarantinedVm::Living(Vcpus::Running)),
        quarantined(QuarantinedVm::Living(Vcpus::Frozen)),
        quarantined(QuarantinedVm::Gone),
    ]
}

fn cell(verb: Verb, situation: Situation) -> String {
    match admit(verb, situation) {
        Admission::Do(plan) => format!("{plan:?}"),
        Admission::NothingToDo => "no-op".to_owned(),
        Admission::Wait(wait) => format!("wait {wait:?}"),
        Admission::Refused(Refusal::WrongState {
            remedy: Remedy::None,
            ..
        }) => "wrong_state".to_owned(),
        Admission::Refused(Refusal::WrongState { remedy, .. }) => format!("wrong_state {remedy:?}"),
        Admission::Refused(Refusal::NotFound) => "not_found".to_owned(),
        Admission::Refused(Refusal::AlreadyExists) => "conflict".to_owned(),
        Admission::Refused(Refusal::MaintenanceRuns) => "busy".to_owned(),
    }
}

fn row(verb: Verb, cells: [&str; 10]) {
    for (situation, expected) in columns().into_iter().zip(cells) {
        assert_eq!(cell(verb, situation), expected, "{verb:?} in {situation:?}");
    }
}

#[test]
fn prepare() {
    let mut cells = ["conflict"; 10];
    cells[0] = "Prepare";
    row(Verb::Prepare, cells);
}

#[test]
fn start() {
    let refused = "wrong_state HaltStopOrKill";
    row(
        Verb::Start,
        [
            "not_found",
            "Boot { before: Prepared }",
            "wait Ready",
            "no-op",
            "wrong_state Resume",
            "wrong_state Wait",
            "Boot { before: Halted }",
            refused,
            refused,
            refused,
        ],
    );
}

#[test]
fn run_of_a_recorded_workspace() {
    row(
        Verb::Run,
        [
            "not_found",
            "RunInForeground { before: Prepared }",
            "wrong_state",
            "wrong_state Exec",
            "wrong_state",
            "wrong_state",
            "RunInForeground { before: Halted }",
            "wrong_state",
            "wrong_state",
            "wrong_state",
        ],
    );
}

#[test]
fn inspect_logs_and_events() {
    let mut cells = ["Read"; 10];
    cells[0] = "not_found";
    row(Verb::Inspect, cells);
}

#[test]
fn exec_and_connect_to_a_shell() {
    for kind in [SessionKind::Exec, SessionKind::Shell] {
        let open = format!("OpenSession({kind:?})");
        row(
            Verb::Session(kind),
            [
                "not_found",
                "wrong_state Start",
                "wait Ready",
                &open,
                "wrong_state Resume",
                "wrong_state",
                "wrong_state Start",
                "wrong_state Halt",
                "wrong_state Halt",
                "wrong_state Halt",
            ],
        );
    }
}

#[test]
fn console_and_connect_to_the_serial_port() {
    row(
        Verb::Serial,
        [
            "not_found",
            "wrong_state Start",
            "AttachSerial",
            "AttachSerial",
            "wrong_state Resume",
            "AttachSerial",
            "wrong_state Logs",
            "wrong_state Logs",
            "wrong_state Logs",
            "wrong_state Logs",
        ],
    );
}

#[test]
fn copy() {
    row(
        Verb::Copy,
        [
            "not_found",
            "CopyByMaintenance",
            "wait Ready",
            "CopyLive",
            "wrong_state Resume",
            "wrong_state",
            "CopyByMaintenance",
            "wrong_state Halt",
            "wrong_state Halt",
            "wrong_state Halt",
        ],
    );
}

#[test]
fn halt() {
    row(
        Verb::Halt,
        [
            "not_found",
            "no-op",
            "wait Ready",
            "Halt",
            "wrong_state ResumeOrStop",
            "wait End",
            "no-op",
            "Halt",
            "wrong_state Stop",
            "ReleaseWithoutVm",
        ],
    );
}

#[test]
fn stop() {
    row(
        Verb::Stop,
        [
            "not_found",
            "no-op",
            "Stop(Skip)",
            "Stop(Ask)",
            "Stop(Skip)",
            "Stop(Ask)",
            "no-op",
            "Stop(Ask)",
            "Stop(Skip)",
            "ReleaseWithoutVm",
        ],
    );
}

#[test]
fn kill() {
    row(
        Verb::Kill,
        [
            "not_found",
            "no-op",
            "Kill",
            "Kill",
            "Kill",
            "Kill",
            "no-op",
            "Kill",
            "Kill",
            "ReleaseWithoutVm",
        ],
    );
}

#[test]
fn pause() {
    row(
        Verb::Pause,
        [
            "not_found",
            "wrong_state Start",
            "wrong_state Wait",
            "Pause",
            "no-op",
            "wrong_state",
            "wrong_state Start",
            "wrong_state QuarantineFreeze",
            "wrong_state QuarantineFreeze",
            "wrong_state",
        ],
    );
}

#[test]
fn resume() {
    row(
        Verb::Resume,
        [
            "not_found",
            "wrong_state Start",
            "wrong_state",
            "no-op",
            "Resume",
            "wrong_state",
            "wrong_state Start",
            "wrong_state",
            "wrong_state",
            "wrong_state",
        ],
    );
}

#[test]
fn quarantine() {
    for freeze in [Freeze::No, Freeze::Yes] {
        let sever = format!("Sever({freeze:?})");
        let again = if freeze == Freeze::Yes {
            "FreezeSevered"
        } else {
            "no-op"
        };
        row(
            Verb::Quarantine(freeze),
            [
                "not_found",
                "MarkOnly",
                &sever,
                &sever,
                &sever,
                &sever,
                "MarkOnly",
                again,
                "no-op",
                "no-op",
            ],
        );
    }
}

#[test]
fn delete() {
    row(
        Verb::Delete,
        [
            "SweepLeftovers",
            "Delete",
            "wrong_state HaltOrKill",
            "wrong_state HaltStopOrKill",
            "wrong_state HaltStopOrKill",
            "wrong_state HaltStopOrKill",
            "Delete",
            "wrong_state HaltOrKill",
            "wrong_state HaltOrKill",
            "Delete",
        ],
    );
}

#[test]
fn reconcile() {
    let mut cells = ["Reconcile"; 10];
    cells[0] = "not_found";
    row(Verb::Reconcile, cells);
}

#[test]
fn a_boot_for_maintenance_needs_a_resting_workspace() {
    row(
        Verb::Maintenance,
        [
            "not_found",
            "BootForMaintenance",
            "wrong_state Halt",
            "wrong_state Halt",
            "wrong_state Halt",
            "wrong_state Halt",
            "BootForMaintenance",
            "wrong_state HaltStopOrKill",
            "wrong_state HaltStopOrKill",
            "wrong_state HaltStopOrKill",
        ],
    );
}

#[test]
fn during_maintenance_only_reading_ending_and_quarantine_are_served() {
    for verb in Verb::ALL {
        let expected = match verb {
            Verb::Inspect => "Read",
            Verb::Stop | Verb::Kill => "EndMaintenance",
            Verb::Quarantine(_) => "EndMaintenanceAndMark",
            _ => "busy",
        };
        assert_eq!(
            cell(*verb, Situation::InMaintenance(RestingState::Halted)),
            expected
        );
    }
}

#[test]
fn halted_stopped_and_failed_are_one_column() {
    let others = [
        RestingState::Stopped(StopReason::Killed),
        RestingState::Failed(FailReason::VmDied),
    ];
    for verb in Verb::ALL {
        let halted = cell(*verb, Situation::Present(State::HALTED));
        for other in others {
            let name = format!("{other:?}");
            let found = cell(*verb, Situation::Present(State::Resting(other)));
            assert_eq!(found.replace(&name, "Halted"), halted, "{verb:?}");
        }
    }
}

#[test]
fn a_refusal_names_the_state_that_refuses() {
    for verb in Verb::ALL {
        for situation in columns() {
            if let (
                Admission::Refused(Refusal::WrongState { state, .. }),
                Situation::Present(present),
            ) = (admit(*verb, situation), situation)
            {
                assert_eq!(state, present.name());
            }
        }
    }
}

#[test]
fn a_workspace_whose_vm_lives_is_never_deleted() {
    for state in crate::state::tests::every_state() {
        let deletes = admit(Verb::Delete, Situation::Present(state)) == Admission::Do(Plan::Delete);
        assert_eq!(deletes, !state.is_live(), "{state:?}");
    }
}
