//! Each row of the published table by its number, and what must hold over all facts there are.

use super::*;
use crate::facts::Shutdown;
use crate::state::tests::every_state;
use crate::state::{RestingState, RunningReason, Vcpus};

const RUNNING: State = State::Running(RunningReason::Ready);
const STARTING: State = State::Starting {
    before: RestingState::Halted,
};
const QUARANTINED: State = State::Quarantined {
    vm: QuarantinedVm::Living(Vcpus::Running),
    reason: QuarantineReason::Quarantined,
};
const HALT_CLEAN: Shutdown = Shutdown {
    cause: ShutdownCause::Halt,
    unmounted: Unmounted::Clean,
};
const HALT_UNCLEAN: Shutdown = Shutdown {
    cause: ShutdownCause::Halt,
    unmounted: Unmounted::Unclean,
};
const GUEST: Shutdown = Shutdown {
    cause: ShutdownCause::Guest,
    unmounted: Unmounted::Clean,
};

fn recorded(state: State) -> Recorded {
    Recorded {
        state,
        pending: None,
        shutdown: None,
        exit: None,
        vm_started: false,
        maintenance: false,
        quarantined: false,
    }
}

/// Facts of a workspace without monitor and VM.
fn orphan(recorded: Recorded) -> Facts {
    Facts {
        record: RecordFact::Readable(recorded),
        host_boot: HostBoot::Same,
        lease: Lease::Free,
        monitor: Monitor::Silent,
        vm: VmFact::Gone,
    }
}

fn becomes(recorded: Recorded) -> (State, Release) {
    match reconcile(orphan(recorded)) {
        Verdict::Becomes(outcome) => (outcome.state, outcome.release),
        other => panic!("{other:?}"),
    }
}

fn every_recorded() -> Vec<Recorded> {
    let mut all = Vec::new();
    let pendings = std::iter::once(None).chain(PendingVerb::ALL.iter().copied().map(Some));
    for pending in pendings {
        for shutdown in [None, Some(HALT_CLEAN), Some(HALT_UNCLEAN), Some(GUEST)] {
            for exit in [None, Some(WorkloadEnd::Success), Some(WorkloadEnd::Failure)] {
                for flags in 0..8_u8 {
                    for state in every_state() {
                        all.push(Recorded {
                            state,
                            pending,
                            shutdown,
                            exit,
                            vm_started: flags & 1 != 0,
                            maintenance: flags & 2 != 0,
                            quarantined: flags & 4 != 0,
                        });
                    }
                }
            }
        }
    }
    all
}

fn every_facts() -> impl Iterator<Item = Facts> {
    let records = every_recorded()
        .into_iter()
        .map(RecordFact::Readable)
        .chain(std::iter::once(RecordFact::Unreadable));
    records.flat_map(|record| {
        let mut all = Vec::new();
        for host_boot in [HostBoot::Same, HostBoot::Changed] {
            for lease in [Lease::Held, Lease::Free] {
                for monitor in [Monitor::Answers, Monitor::Silent] {
                    for vm in [VmFact::Alive, VmFact::Gone, VmFact::Unknown] {
                        all.push(Facts {
                            record,
                            host_boot,
                            lease,
                            monitor,
                            vm,
                        });
                    }
                }
            }
        }
        all
    })
}

#[test]
fn row_1_a_living_monitor_restores_an_unreadable_record() {
    let facts = Facts {
        record: RecordFact::Unreadable,
        lease: Lease::Held,
        monitor: Monitor::Answers,
        ..orphan(recorded(RUNNING))
    };
    assert_eq!(reconcile(facts), Verdict::MonitorRestoresRecord);
}

#[test]
fn row_2_without_one_the_record_is_lost_and_nothing_is_signalled() {
    for vm in [VmFact::Alive, VmFact::Gone, VmFact::Unknown] {
        for lease in [Lease::Held, Lease::Free] {
            let facts = Facts {
                record: RecordFact::Unreadable,
                vm,
                lease,
                ..orphan(recorded(RUNNING))
            };
            assert_eq!(reconcile(facts), Verdict::RecordLost);
        }
    }
}

#[test]
fn row_3_the_monitors_answer_is_the_truth() {
    for state in every_state() {
        for vm in [VmFact::Alive, VmFact::Gone, VmFact::Unknown] {
            let facts = Facts {
                lease: Lease::Held,
                monitor: Monitor::Answers,
                vm,
                ..orphan(recorded(state))
            };
            assert_eq!(reconcile(facts), Verdict::TrustMonitor);
        }
    }
}

#[test]
fn rows_4_and_5_a_silent_monitor_is_left_alone_or_is_finishing() {
    for state in every_state().into_iter().filter(|state| state.is_live()) {
        let facts = Facts {
            lease: Lease::Held,
            vm: VmFact::Alive,
            ..orphan(recorded(state))
        };
        assert_eq!(reconcile(facts), Verdict::Unchanged(Freshness::Stale));
        let facts = Facts {
            vm: VmFact::Gone,
            ..facts
        };
        assert_eq!(reconcile(facts), Verdict::MonitorFinishing);
    }
}

#[test]
fn row_6_an_unowned_vm_is_ended_and_its_monitor_named() {
    for state in every_state().into_iter().filter(|state| state.is_live()) {
        let facts = Facts {
            vm: VmFact::Alive,
            ..orphan(recorded(state))
        };
        assert!(
            matches!(reconcile(facts), Verdict::EndUnownedVm(_)),
            "{state:?}"
        );
    }
    let facts = Facts {
        vm: VmFact::Alive,
        ..orphan(recorded(RUNNING))
    };
    let expected = Outcome {
        state: State::failed(FailReason::MonitorDied),
        release: Release::Kept,
    };
    assert_eq!(reconcile(facts), Verdict::EndUnownedVm(expected));
}

#[test]
fn row_7_an_intended_end_is_never_a_failure() {
    for (verb, reason) in [
        (PendingVerb::Stop, StopReason::Stopped),
        (PendingVerb::Kill, StopReason::Killed),
    ] {
        for state in every_state().into_iter().filter(|state| state.is_live()) {
            let recorded = Recorded {
                pending: Some(verb),
                exit: Some(WorkloadEnd::Failure),
                shutdown: Some(GUEST),
                vm_started: true,
                ..recorded(state)
            };
            assert_eq!(
                becomes(recorded),
                (State::stopped(reason), Release::Released)
            );
        }
    }
}

#[test]
fn row_8_a_halt_that_the_guest_reported_is_halted() {
    let halting = Recorded {
        shutdown: Some(HALT_CLEAN),
        ..recorded(State::Halting)
    };
    assert_eq!(becomes(halting), (State::HALTED, Release::Released));
    let unclean = Recorded {
        shutdown: Some(HALT_UNCLEAN),
        ..halting
    };
    let unmount_failed = State::stopped(StopReason::UnmountFailed);
    assert_eq!(becomes(unclean), (unmount_failed, Release::Released));
    let quarantined = Recorded {
        pending: Some(PendingVerb::Halt),
        shutdown: Some(HALT_CLEAN),
        ..recorded(QUARANTINED)
    };
    assert_eq!(becomes(quarantined), (State::HALTED, Release::Released));
}

#[test]
fn a_quarantine_that_was_cut_off_before_the_state_said_it_holds_all_the_same() {
    let gone = State::Quarantined {
        vm: QuarantinedVm::Gone,
        reason: QuarantineReason::VmGone,
    };
    for state in [RUNNING, State::Paused, State::Halting, STARTING] {
        let marked = Recorded {
            quarantined: true,
            ..recorded(state)
        };
        assert_eq!(becomes(marked), (gone, Release::Kept), "{state:?}");
        let killed = Recorded {
            pending: Some(PendingVerb::Kill),
            ..marked
        };
        let killed = becomes(killed);
        assert_eq!(
            killed,
            (State::stopped(StopReason::Killed), Release::Released)
        );
    }
}

#[test]
fn row_9_a_quarantine_outlives_its_vm() {
    let gone = State::Quarantined {
        vm: QuarantinedVm::Gone,
        reason: QuarantineReason::VmGone,
    };
    for exit in [None, Some(WorkloadEnd::Success), Some(WorkloadEnd::Failure)] {
        let quarantined = Recorded {
            exit,
            shutdown: Some(HALT_CLEAN),
            ..recorded(QUARANTINED)
        };
        assert_eq!(becomes(quarantined), (gone, Release::Kept));
    }
}

#[test]
fn row_10_a_start_failed_only_if_a_vm_was_started() {
    let started = Recorded {
        vm_started: true,
        ..recorded(STARTING)
    };
    assert_eq!(becomes(started).0, State::failed(FailReason::BootFailed));
    assert_eq!(becomes(recorded(STARTING)).0, State::HALTED);
}

#[test]
fn row_11_the_workloads_code_decides() {
    for state in [RUNNING, State::Paused, State::Halting] {
        let with = |exit| {
            becomes(Recorded {
                exit: Some(exit),
                ..recorded(state)
            })
            .0
        };
        assert_eq!(
            with(WorkloadEnd::Success),
            State::stopped(StopReason::WorkloadExited)
        );
        assert_eq!(
            with(WorkloadEnd::Failure),
            State::failed(FailReason::WorkloadFailed)
        );
    }
}

#[test]
fn row_12_a_power_off_inside_is_a_stop() {
    for state in [RUNNING, State::Paused, State::Halting] {
        let powered_off = Recorded {
            shutdown: Some(GUEST),
            ..recorded(state)
        };
        assert_eq!(
            becomes(powered_off).0,
            State::stopped(StopReason::GuestPoweredOff)
        );
    }
}

#[test]
fn row_13_a_halt_that_the_guest_did_not_finish_failed() {
    assert_eq!(
        becomes(recorded(State::Halting)).0,
        State::failed(FailReason::HaltInterrupted)
    );
    let rebooted = Facts {
        host_boot: HostBoot::Changed,
        ..orphan(recorded(State::Halting))
    };
    let expected = Outcome {
        state: State::failed(FailReason::HaltInterrupted),
        release: Release::Kept,
    };
    assert_eq!(reconcile(rebooted), Verdict::Becomes(expected));
}

#[test]
fn rows_14_and_15_an_unexplained_end_is_named_by_the_host() {
    for state in [RUNNING, State::Paused] {
        assert_eq!(
            becomes(recorded(state)).0,
            State::failed(FailReason::VmDied)
        );
        // Whatever seems to live after a reboot is somebody else.
        for vm in [VmFact::Alive, VmFact::Gone, VmFact::Unknown] {
            let facts = Facts {
                host_boot: HostBoot::Changed,
                lease: Lease::Held,
                vm,
                ..orphan(recorded(state))
            };
            let expected = Outcome {
                state: State::failed(FailReason::HostRebooted),
                release: Release::Kept,
            };
            assert_eq!(reconcile(facts), Verdict::Becomes(expected));
        }
    }
}

#[test]
fn row_16_a_maintenance_boot_without_monitor_is_cleared() {
    let maintenance = Recorded {
        maintenance: true,
        ..recorded(State::HALTED)
    };
    for vm in [VmFact::Alive, VmFact::Gone] {
        let facts = Facts {
            vm,
            ..orphan(maintenance)
        };
        assert_eq!(reconcile(facts), Verdict::ClearMaintenance);
    }
    let silent = Facts {
        lease: Lease::Held,
        vm: VmFact::Alive,
        ..orphan(maintenance)
    };
    assert_eq!(reconcile(silent), Verdict::Unchanged(Freshness::Stale));
}

#[test]
fn row_17_a_resting_workspace_with_a_living_vm_is_a_contradiction() {
    for state in every_state().into_iter().filter(|state| !state.is_live()) {
        for lease in [Lease::Held, Lease::Free] {
            let facts = Facts {
                vm: VmFact::Alive,
                lease,
                ..orphan(recorded(state))
            };
            assert_eq!(reconcile(facts), Verdict::Contradiction, "{state:?}");
        }
    }
}

#[test]
fn row_18_a_resting_workspace_stays_as_it_is() {
    for state in every_state().into_iter().filter(|state| !state.is_live()) {
        for lease in [Lease::Held, Lease::Free] {
            let facts = Facts {
                lease,
                ..orphan(recorded(state))
            };
            assert_eq!(
                reconcile(facts),
                Verdict::Unchanged(Freshness::Current),
                "{state:?}"
            );
        }
    }
}

#[test]
fn a_vm_that_cannot_be_told_is_neither_ended_nor_taken_for_gone() {
    for facts in every_facts().filter(|facts| facts.vm == VmFact::Unknown) {
        if facts.host_boot == HostBoot::Same
            && let RecordFact::Readable(_) = facts.record
        {
            assert!(
                matches!(
                    reconcile(facts),
                    Verdict::Unchanged(_) | Verdict::TrustMonitor
                ),
                "{facts:?}"
            );
        }
    }
}

#[test]
fn no_verdict_signals_after_a_reboot_of_the_host() {
    for facts in every_facts().filter(|facts| facts.host_boot == HostBoot::Changed) {
        assert!(
            !matches!(reconcile(facts), Verdict::EndUnownedVm(_)),
            "{facts:?}"
        );
    }
}

#[test]
fn a_vm_is_ended_only_when_nobody_holds_the_lease() {
    for facts in every_facts() {
        if matches!(reconcile(facts), Verdict::EndUnownedVm(_)) {
            assert_eq!((facts.lease, facts.vm), (Lease::Free, VmFact::Alive));
        }
    }
}

#[test]
fn every_outcome_is_an_allowed_move_to_a_state_without_vm() {
    for facts in every_facts() {
        if let (
            Verdict::Becomes(outcome) | Verdict::EndUnownedVm(outcome),
            RecordFact::Readable(recorded),
        ) = (reconcile(facts), facts.record)
        {
            assert!(!outcome.state.is_live(), "{facts:?}");
            let frozen_halt = recorded.state.is_frozen() && outcome.state == State::HALTED;
            assert!(
                recorded.state.may_become(outcome.state) || frozen_halt,
                "{facts:?} {outcome:?}"
            );
        }
    }
}

#[test]
fn a_quarantine_is_released_only_by_halt_stop_or_kill() {
    for recorded in every_recorded() {
        let released = matches!(
            reconcile(orphan(recorded)),
            Verdict::Becomes(Outcome {
                release: Release::Released,
                ..
            })
        );
        let in_force = recorded.quarantined || matches!(recorded.state, State::Quarantined { .. });
        if released && in_force {
            let verbs = [PendingVerb::Halt, PendingVerb::Stop, PendingVerb::Kill];
            assert!(recorded.pending.is_some_and(|verb| verbs.contains(&verb)));
        }
    }
}

#[test]
fn a_verdict_once_applied_is_final() {
    for recorded in every_recorded() {
        if let Verdict::Becomes(outcome) = reconcile(orphan(recorded)) {
            let after = Recorded {
                state: outcome.state,
                pending: None,
                ..recorded
            };
            assert!(
                matches!(
                    reconcile(orphan(after)),
                    Verdict::Unchanged(Freshness::Current) | Verdict::ClearMaintenance
                ),
                "{recorded:?}"
            );
        }
    }
}
