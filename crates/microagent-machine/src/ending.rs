//! How the end of a VM is classified by the monitor that saw it: evidence in, state and reason
//! out, the first row that fits.
//!
//! A guest that panics resets, and a reset ends both Linux VMMs with status 0. So an end in order
//! is proved by the guest's word only, never by the VMM's exit status.

use crate::facts::{Shutdown, ShutdownCause, Unmounted, WorkloadEnd};
use crate::reconcile::{Outcome, Release};
use crate::state::{FailReason, QuarantineReason, QuarantinedVm, State, StopReason};

/// An end that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// `stop`, and it went in time.
    Stop,
    /// `stop`, and it was killed after its limit.
    StopEscalated,
    /// `kill`.
    Kill,
}

/// Why a VM was given up that nobody asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandonment {
    /// The wait for its start was interrupted.
    StartInterrupted,
    /// The client it was bound to went away.
    ClientGone,
}

/// Whether a quarantine is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containment {
    /// It is.
    Active,
    /// There is none, or it was released.
    None,
}

/// Whether the guest had acknowledged a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltAcknowledged {
    /// It had.
    Yes,
    /// It had not, or was not asked.
    No,
}

/// What the host's memory accounting says about the VMM's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKill {
    /// Ended by SIGKILL, and the cgroup counts a kill for want of memory.
    Counted,
    /// Not so, or it can't be told.
    None,
}

/// Everything that is known when the VMM has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The end that was asked for.
    pub intent: Option<Intent>,
    /// The guest's last word.
    pub shutdown: Option<Shutdown>,
    /// Whether a quarantine is active.
    pub containment: Containment,
    /// Whether it was given up.
    pub abandonment: Option<Abandonment>,
    /// How the workload ended.
    pub exit: Option<WorkloadEnd>,
    /// Whether a halt was under way.
    pub halt_acknowledged: HaltAcknowledged,
    /// What the host's memory accounting says.
    pub memory_kill: MemoryKill,
}

/// Classifies.
pub fn classify(evidence: Evidence) -> Outcome {
    let released = |state| Outcome {
        state,
        release: Release::Released,
    };
    let kept = |state| Outcome {
        state,
        release: Release::Kept,
    };
    let stopped = |reason| State::stopped(reason);
    let failed = |reason| State::failed(reason);
    let by_workload = |exit| match exit {
        Some(WorkloadEnd::Success) => stopped(StopReason::WorkloadExited),
        Some(WorkloadEnd::Failure) | None => failed(FailReason::WorkloadFailed),
    };
    match evidence.intent {
        Some(Intent::Kill) => return released(stopped(StopReason::Killed)),
        Some(Intent::Stop) => return released(stopped(StopReason::Stopped)),
        Some(Intent::StopEscalated) => return released(stopped(StopReason::StopEscalated)),
        None => {}
    }
    match evidence.shutdown {
        Some(Shutdown {
            cause: ShutdownCause::Halt,
            unmounted: Unmounted::Clean,
        }) => {
            return released(State::HALTED);
        }
        Some(Shutdown {
            cause: ShutdownCause::Halt,
            unmounted: Unmounted::Unclean,
        }) => {
            return released(stopped(StopReason::UnmountFailed));
        }
        _ => {}
    }
    if evidence.containment == Containment::Active {
        return kept(State::Quarantined {
            vm: QuarantinedVm::Gone,
            reason: QuarantineReason::VmGone,
        });
    }
    kept(match (evidence.abandonment, evidence.shutdown) {
        (Some(Abandonment::StartInterrupted), _) => stopped(StopReason::Interrupted),
        (Some(Abandonment::ClientGone), _) => stopped(StopReason::ClientGone),
        (
            None,
            Some(Shutdown {
                cause: ShutdownCause::Guest,
                ..
            }),
        ) => stopped(StopReason::GuestPoweredOff),
        (
            None,
            Some(Shutdown {
                cause: ShutdownCause::Workload,
                ..
            }),
        ) => by_workload(evidence.exit),
        (
            None,
            Some(Shutdown {
                cause: ShutdownCause::Halt,
                ..
            })
            | None,
        ) => {
            if evidence.exit.is_some() {
                by_workload(evidence.exit)
            } else if evidence.halt_acknowledged == HaltAcknowledged::Yes {
                failed(FailReason::HaltInterrupted)
            } else if evidence.memory_kill == MemoryKill::Counted {
                failed(FailReason::OutOfMemory)
            } else {
                failed(FailReason::VmDied)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Evidence = Evidence {
        intent: None,
        shutdown: None,
        containment: Containment::None,
        abandonment: None,
        exit: None,
        halt_acknowledged: HaltAcknowledged::No,
        memory_kill: MemoryKill::None,
    };

    fn said(cause: ShutdownCause, unmounted: Unmounted) -> Shutdown {
        Shutdown { cause, unmounted }
    }

    /// The rows of the page from the top, each with the evidence that belongs to it alone.
    fn rows() -> Vec<(Evidence, State, Release)> {
        let clean = Unmounted::Clean;
        let stopped = State::stopped;
        let failed = State::failed;
        let (kept, released) = (Release::Kept, Release::Released);
        vec![
            (
                Evidence {
                    intent: Some(Intent::Kill),
                    ..NOTHING
                },
                stopped(StopReason::Killed),
                released,
            ),
            (
                Evidence {
                    intent: Some(Intent::Stop),
                    ..NOTHING
                },
                stopped(StopReason::Stopped),
                released,
            ),
            (
                Evidence {
                    intent: Some(Intent::StopEscalated),
                    ..NOTHING
                },
                stopped(StopReason::StopEscalated),
                released,
            ),
            (
                Evidence {
                    shutdown: Some(said(ShutdownCause::Halt, clean)),
                    ..NOTHING
                },
                State::HALTED,
                released,
            ),
            (
                Evidence {
                    shutdown: Some(said(ShutdownCause::Halt, Unmounted::Unclean)),
                    ..NOTHING
                },
                stopped(StopReason::UnmountFailed),
                released,
            ),
            (
                Evidence {
                    containment: Containment::Active,
                    ..NOTHING
                },
                State::Quarantined {
                    vm: QuarantinedVm::Gone,
                    reason: QuarantineReason::VmGone,
                },
                kept,
            ),
            (
                Evidence {
                    abandonment: Some(Abandonment::StartInterrupted),
                    ..NOTHING
                },
                stopped(StopReason::Interrupted),
                kept,
            ),
            (
                Evidence {
                    abandonment: Some(Abandonment::ClientGone),
                    ..NOTHING
                },
                stopped(StopReason::ClientGone),
                kept,
            ),
            (
                Evidence {
                    shutdown: Some(said(ShutdownCause::Workload, clean)),
                    exit: Some(WorkloadEnd::Success),
                    ..NOTHING
                },
                stopped(StopReason::WorkloadExited),
                kept,
            ),
            (
                Evidence {
                    shutdown: Some(said(ShutdownCause::Workload, clean)),
                    exit: Some(WorkloadEnd::Failure),
                    ..NOTHING
                },
                failed(FailReason::WorkloadFailed),
                kept,
            ),
            (
                Evidence {
                    shutdown: Some(said(ShutdownCause::Guest, clean)),
                    ..NOTHING
                },
                stopped(StopReason::GuestPoweredOff),
                kept,
            ),
            (
                Evidence {
                    exit: Some(WorkloadEnd::Success),
                    ..NOTHING
                },
                stopped(StopReason::WorkloadExited),
                kept,
            ),
            (
                Evidence {
                    exit: Some(WorkloadEnd::Failure),
                    ..NOTHING
                },
                failed(FailReason::WorkloadFailed),
                kept,
            ),
            (
                Evidence {
                    halt_acknowledged: HaltAcknowledged::Yes,
                    ..NOTHING
                },
                failed(FailReason::HaltInterrupted),
                kept,
            ),
            (
                Evidence {
                    memory_kill: MemoryKill::Counted,
                    ..NOTHING
                },
                failed(FailReason::OutOfMemory),
                kept,
            ),
            (NOTHING, failed(FailReason::VmDied), kept),
        ]
    }

    #[test]
    fn each_row_gives_its_state() {
        for (evidence, state, release) in rows() {
            assert_eq!(
                classify(evidence),
                Outcome { state, release },
                "{evidence:?}"
            );
        }
    }

    /// One above the other: what is not said by the upper one is taken from the lower one.
    fn upper_over_lower(upper: Evidence, lower: Evidence) -> Evidence {
        Evidence {
            intent: upper.intent.or(lower.intent),
            shutdown: upper.shutdown.or(lower.shutdown),
            containment: match upper.containment {
                Containment::Active => Containment::Active,
                Containment::None => lower.containment,
            },
            abandonment: upper.abandonment.or(lower.abandonment),
            exit: upper.exit.or(lower.exit),
            halt_acknowledged: match upper.halt_acknowledged {
                HaltAcknowledged::Yes => HaltAcknowledged::Yes,
                HaltAcknowledged::No => lower.halt_acknowledged,
            },
            memory_kill: match upper.memory_kill {
                MemoryKill::Counted => MemoryKill::Counted,
                MemoryKill::None => lower.memory_kill,
            },
        }
    }

    #[test]
    fn the_upper_row_wins() {
        let rows = rows();
        for (index, (upper, state, release)) in rows.iter().enumerate() {
            for (lower, _, _) in &rows[index..] {
                // A bare exit above a guest's word is that word's row; the page orders them so.
                if upper.shutdown.is_none() && lower.shutdown.is_some() {
                    continue;
                }
                let both = upper_over_lower(*upper, *lower);
                assert_eq!(
                    classify(both),
                    Outcome {
                        state: *state,
                        release: *release
                    },
                    "{both:?}"
                );
            }
        }
    }

    #[test]
    fn a_clean_end_needs_the_guests_word() {
        for (evidence, ..) in rows() {
            let without = Evidence {
                shutdown: None,
                ..evidence
            };
            assert_ne!(classify(without).state, State::HALTED);
        }
    }
}
