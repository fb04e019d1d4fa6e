//! Random histories against a small model of the world: commands, ends, crashes and reboots in any
//! order. The model performs what admission plans and what reconciliation judges; after every step
//! the promises must hold.

use proptest::prelude::*;

use crate::admission::{Admission, Situation, admit};
use crate::ending::{Containment, Evidence, HaltAcknowledged, Intent, MemoryKill, classify};
use crate::facts::{
    Facts, HostBoot, Lease, Monitor, RecordFact, Recorded, Shutdown, ShutdownCause, Unmounted,
    VmFact,
};
use crate::plan::Plan;
use crate::reconcile::{Outcome, Release, Verdict, reconcile};
use crate::state::{
    FailReason, QuarantineReason, QuarantinedVm, RestingState, RunningReason, State, Vcpus,
};
use crate::verb::{Freeze, PendingVerb, Verb};

#[derive(Debug, Clone)]
enum Step {
    Command(Verb),
    /// The boot under way comes to its end.
    Ready,
    /// The guest finishes the halt under way.
    GuestPowersOff,
    /// The VMM ends by itself.
    VmDies,
    /// `kill -9` of the monitor; the VM may survive for a moment.
    MonitorDies {
        vm_survives: bool,
    },
    /// The machine loses its power and comes back.
    HostReboots,
    /// The supervisor dies right after it recorded its intent.
    CrashAfterIntent(Verb),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verb = prop::sample::select(Verb::ALL);
    let step = prop_oneof![
        8 => verb.clone().prop_map(Step::Command),
        4 => Just(Step::Ready),
        2 => Just(Step::GuestPowersOff),
        1 => Just(Step::VmDies),
        2 => any::<bool>().prop_map(|vm_survives| Step::MonitorDies { vm_survives }),
        1 => Just(Step::HostReboots),
        1 => verb.prop_map(Step::CrashAfterIntent),
    ];
    prop::collection::vec(step, 1..60)
}

/// The world, and the record of it.
#[derive(Debug)]
struct World {
    record: Recorded,
    quarantine_active: bool,
    was_quarantined: bool,
    vm_alive: bool,
    monitor_alive: bool,
    host_boot: HostBoot,
    deleted: bool,
}

impl World {
    fn new() -> Self {
        Self {
            record: Recorded {
                state: State::PREPARED,
                pending: None,
                shutdown: None,
                exit: None,
                vm_started: false,
                maintenance: false,
                quarantined: false,
            },
            quarantine_active: false,
            was_quarantined: false,
            vm_alive: false,
            monitor_alive: false,
            host_boot: HostBoot::Same,
            deleted: false,
        }
    }

    fn becomes(&mut self, state: State) {
        let before = self.record.state;
        assert!(
            before.may_become(state),
            "{before:?} may not become {state:?}"
        );
        self.record.state = state;
    }

    fn apply(&mut self, outcome: Outcome) {
        if self.quarantine_active && outcome.release == Release::Kept {
            assert!(
                matches!(outcome.state, State::Quarantined { .. }),
                "{outcome:?}"
            );
        }
        if outcome.release == Release::Released {
            self.quarantine_active = false;
        }
        self.becomes(outcome.state);
        self.record.pending = None;
        self.record.maintenance = false;
    }

    /// What every command does first.
    fn reconcile(&mut self) {
        let facts = Facts {
            record: RecordFact::Readable(self.record),
            host_boot: self.host_boot,
            lease: if self.monitor_alive {
                Lease::Held
            } else {
                Lease::Free
            },
            monitor: if self.monitor_alive {
                Monitor::Answers
            } else {
                Monitor::Silent
            },
            vm: if self.vm_alive {
                VmFact::Alive
            } else {
                VmFact::Gone
            },
        };
        match reconcile(facts) {
            Verdict::TrustMonitor => assert!(self.monitor_alive),
            Verdict::Unchanged(_) => {}
            Verdict::EndUnownedVm(outcome) => {
                assert!(!self.monitor_alive);
                self.vm_alive = false;
                self.apply(outcome);
            }
            Verdict::Becomes(outcome) => self.apply(outcome),
            Verdict::ClearMaintenance => {
                self.vm_alive = false;
                self.record.maintenance = false;
            }
            other => panic!("a readable record of this model can't be {other:?}: {self:?}"),
        }
        self.host_boot = HostBoot::Same;
    }

    fn situation(&self) -> Situation {
        match (self.deleted, self.record.maintenance, self.record.state) {
            (true, ..) => Situation::Absent,
            (false, true, State::Resting(resting)) => Situation::InMaintenance(resting),
            (false, _, state) => Situation::Present(state),
        }
    }

    fn command(&mut self, verb: Verb) {
        if !self.deleted {
            self.reconcile();
        }
        if let Admission::Do(plan) = admit(verb, self.situation()) {
            self.perform(plan);
        }
    }

    fn perform(&mut self, plan: Plan) {
        match plan {
            Plan::Boot { before } | Plan::RunInForeground { before } => {
                assert!(
                    !self.quarantine_active,
                    "a quarantined workspace does not start"
                );
                self.begin_boot(before);
                self.monitor_alive = true;
                self.vm_alive = true;
                self.record.vm_started = true;
            }
            Plan::BootForMaintenance | Plan::CopyByMaintenance => {
                assert!(!self.quarantine_active);
                self.record.maintenance = true;
                self.monitor_alive = true;
                self.vm_alive = true;
            }
            Plan::EndMaintenance => self.end_maintenance(),
            Plan::EndMaintenanceAndMark => {
                self.end_maintenance();
                self.mark(QuarantinedVm::Gone);
            }
            Plan::Halt => {
                assert!(!self.record.state.is_frozen());
                self.record.pending = Some(PendingVerb::Halt);
                if !matches!(self.record.state, State::Quarantined { .. }) {
                    self.becomes(State::Halting);
                }
            }
            Plan::Stop(_) => self.ends(Evidence {
                intent: Some(Intent::Stop),
                ..NOTHING
            }),
            Plan::Kill => self.ends(Evidence {
                intent: Some(Intent::Kill),
                ..NOTHING
            }),
            Plan::ReleaseWithoutVm => {
                assert!(!self.vm_alive);
                self.quarantine_active = false;
                self.becomes(State::stopped(crate::state::StopReason::VmGone));
            }
            Plan::Pause => self.becomes(State::Paused),
            Plan::Resume => self.becomes(State::Running(RunningReason::Resumed)),
            Plan::Sever(freeze) => {
                let frozen = freeze == Freeze::Yes || self.record.state.is_frozen();
                let vcpus = if frozen {
                    Vcpus::Frozen
                } else {
                    Vcpus::Running
                };
                self.mark(QuarantinedVm::Living(vcpus));
            }
            Plan::FreezeSevered => self.mark(QuarantinedVm::Living(Vcpus::Frozen)),
            Plan::MarkOnly => self.mark(QuarantinedVm::Gone),
            Plan::Delete => {
                assert!(!self.vm_alive, "a living VM is never deleted");
                self.deleted = true;
            }
            Plan::Prepare => *self = Self::new(),
            Plan::PrepareAndRun
            | Plan::Read
            | Plan::OpenSession(_)
            | Plan::AttachSerial
            | Plan::CopyLive
            | Plan::SweepLeftovers
            | Plan::Reconcile => {}
        }
    }

    fn begin_boot(&mut self, before: RestingState) {
        self.becomes(State::Starting { before });
        self.record.pending = Some(PendingVerb::Start);
        self.record.shutdown = None;
        self.record.exit = None;
        self.record.vm_started = false;
    }

    fn mark(&mut self, vm: QuarantinedVm) {
        self.becomes(State::Quarantined {
            vm,
            reason: QuarantineReason::Quarantined,
        });
        self.record.pending = None;
        self.quarantine_active = true;
        self.was_quarantined = true;
    }

    fn end_maintenance(&mut self) {
        self.vm_alive = false;
        self.monitor_alive = false;
        self.record.maintenance = false;
    }

    /// The living monitor sees the VM end.
    fn ends(&mut self, evidence: Evidence) {
        assert!(self.vm_alive && self.monitor_alive, "{self:?}");
        let containment = if self.quarantine_active {
            Containment::Active
        } else {
            Containment::None
        };
        self.vm_alive = false;
        self.monitor_alive = false;
        let outcome = classify(Evidence {
            containment,
            ..evidence
        });
        // A VM that dies while it boots is classified by the boot.
        let booting = matches!(self.record.state, State::Starting { .. });
        if booting && outcome.state == State::failed(FailReason::VmDied) {
            self.becomes(State::failed(FailReason::BootFailed));
            self.record.pending = None;
        } else {
            self.apply(outcome);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Command(verb) => self.command(*verb),
            Step::CrashAfterIntent(Verb::Start) if !self.deleted => {
                self.reconcile();
                if let Admission::Do(Plan::Boot { before }) = admit(Verb::Start, self.situation()) {
                    self.begin_boot(before);
                    self.reconcile();
                    assert_eq!(
                        self.record.state,
                        State::Resting(before),
                        "nothing was launched"
                    );
                }
            }
            Step::CrashAfterIntent(_) => {}
            _ if self.deleted => {}
            Step::Ready => {
                if self.monitor_alive && matches!(self.record.state, State::Starting { .. }) {
                    self.becomes(State::Running(RunningReason::Ready));
                    self.record.pending = None;
                }
            }
            Step::GuestPowersOff => {
                if self.monitor_alive && self.record.pending == Some(PendingVerb::Halt) {
                    let shutdown = Shutdown {
                        cause: ShutdownCause::Halt,
                        unmounted: Unmounted::Clean,
                    };
                    self.record.shutdown = Some(shutdown);
                    self.ends(Evidence {
                        shutdown: Some(shutdown),
                        ..NOTHING
                    });
                    assert_eq!(self.record.state, State::HALTED);
                }
            }
            Step::VmDies => {
                if self.monitor_alive && self.record.maintenance {
                    self.end_maintenance();
                } else if self.monitor_alive && self.vm_alive {
                    let halting = self.record.state == State::Halting;
                    let halt_acknowledged = if halting {
                        HaltAcknowledged::Yes
                    } else {
                        HaltAcknowledged::No
                    };
                    self.ends(Evidence {
                        halt_acknowledged,
                        ..NOTHING
                    });
                }
            }
            Step::MonitorDies { vm_survives } => {
                if self.monitor_alive {
                    self.monitor_alive = false;
                    self.vm_alive &= vm_survives;
                }
            }
            Step::HostReboots => {
                self.monitor_alive = false;
                self.vm_alive = false;
                self.host_boot = HostBoot::Changed;
            }
        }
    }

    /// The promises.
    fn check(&self) {
        if self.deleted {
            return;
        }
        let state = self.record.state;
        if self.monitor_alive && !self.record.maintenance {
            assert_eq!(self.vm_alive, state.is_live(), "{self:?}");
        }
        let quarantined = matches!(state, State::Quarantined { .. });
        assert_eq!(quarantined, self.quarantine_active, "{self:?}");
        assert!(self.was_quarantined || !self.quarantine_active);
    }
}

const NOTHING: Evidence = Evidence {
    intent: None,
    shutdown: None,
    containment: Containment::None,
    abandonment: None,
    exit: None,
    halt_acknowledged: HaltAcknowledged::No,
    memory_kill: MemoryKill::None,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_history_keeps_the_promises(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check();
        }
    }

    #[test]
    fn after_any_history_the_next_command_finds_no_unowned_vm_and_can_end_and_delete(
        steps in steps(),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        if !world.deleted {
            world.reconcile();
            prop_assert!(world.monitor_alive || !world.vm_alive, "{:?}", world);
            let before = world.record;
            world.reconcile();
            prop_assert_eq!(before, world.record, "judging twice changes nothing");
            world.command(Verb::Kill);
            prop_assert!(!world.vm_alive);
            world.command(Verb::Delete);
            prop_assert!(world.deleted, "{:?}", world);
        }
        world.command(Verb::Prepare);
        prop_assert_eq!(world.record.state, State::PREPARED);
    }
}
