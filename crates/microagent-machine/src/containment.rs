//! The phases of a quarantine as types: none can be left out, none can come early, none is undone.
//!
//! ```text
//! Marked -> VcpusSettled -> DoorsClosed -> ConnectionsReset -> NetworkCut -> Severed
//!  (mark     (frozen         (nothing new    (open ones         (engine       (what was left
//!  recorded)  or not)         accepted)       are gone)          ended)        removed)
//! ```
//!
//! Whoever severs performs a step, says how it went, and gets the next phase in return. A step
//! that failed does not stop the next ones: the other paths are cut all the same, and the verdict
//! says which one is still open.

use crate::verb::Freeze;

/// How the cut of one path went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It was open and is closed; so many connections were reset.
    Done {
        /// Connections that were open.
        connections: u32,
    },
    /// There was nothing to cut.
    None,
    /// It may still be open.
    Failed,
}

impl Cut {
    /// The word in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::None => "none",
            Self::Failed => "failed",
        }
    }

    /// Two steps on one path: a failure of either is a failure, and connections add up.
    #[must_use]
    pub const fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Done { connections: one }, Self::Done { connections: other }) => Self::Done {
                connections: one.saturating_add(other),
            },
            (Self::Done { connections }, Self::None) | (Self::None, Self::Done { connections }) => {
                Self::Done { connections }
            }
            (Self::None, Self::None) => Self::None,
        }
    }
}

/// Whether the vCPUs stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frozen {
    /// They do: by this quarantine, or paused before.
    Yes,
    /// They run, as was asked.
    NotAsked,
    /// It was asked and the VMM refused.
    Failed,
}

/// Step 1 is done: the mark and the intent are on disk.
#[derive(Debug)]
#[must_use = "a quarantine that was begun is finished"]
pub struct Marked {
    freeze: Freeze,
}

/// Step 2 is done, or was not asked for.
#[derive(Debug)]
#[must_use = "a quarantine that was begun is finished"]
pub struct VcpusSettled {
    frozen: Frozen,
}

/// Step 3 is done: sessions, serial input, published ports and mediation accept nothing new.
#[derive(Debug)]
#[must_use = "a quarantine that was begun is finished"]
pub struct DoorsClosed {
    frozen: Frozen,
}

/// Step 4 is done: open connections of all four were reset on both sides.
#[derive(Debug)]
#[must_use = "a quarantine that was begun is finished"]
pub struct ConnectionsReset {
    frozen: Frozen,
    resets: Resets,
}

/// Step 5 is done: the network engine has ended and the NIC's path is closed.
#[derive(Debug)]
#[must_use = "a quarantine that was begun is finished"]
pub struct NetworkCut {
    frozen: Frozen,
    resets: Resets,
    network: Cut,
}

/// What step 4 did to each kind of connection. Serial input counts among sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resets {
    /// Sessions and serial input.
    pub sessions: Cut,
    /// Published ports.
    pub publish: Cut,
    /// The mediation channel.
    pub mediation: Cut,
}

/// What step 6 did to the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenersRemoved {
    /// Published ports.
    pub publish: Cut,
    /// The mediation channel.
    pub mediation: Cut,
}

/// Everything is done that can be; for steps 7 and 8, the record and the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severed {
    /// The guest's network.
    pub network: Cut,
    /// Published ports.
    pub publish: Cut,
    /// The mediation channel.
    pub mediation: Cut,
    /// Sessions and serial input.
    pub sessions: Cut,
    /// Whether the vCPUs stand still.
    pub frozen: Frozen,
}

/// One of the four paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The guest's network.
    Network,
    /// Published ports.
    Publish,
    /// The mediation channel.
    Mediation,
    /// Sessions and serial input.
    Sessions,
}

/// Whether the workspace is contained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every path is closed and a freeze that was asked for holds.
    Contained,
    /// It is quarantined all the same, but the act fails and names what is left.
    Incomplete {
        /// Paths that may be open.
        open: Vec<Path>,
        /// What to do about the vCPUs.
        freeze_now: Freeze,
    },
}

impl Marked {
    /// Begins, once the mark and the intent were recorded.
    pub fn begin(freeze: Freeze) -> Self {
        Self { freeze }
    }

    /// Whether step 2 is to stop the vCPUs.
    pub fn freeze(&self) -> Freeze {
        self.freeze
    }

    /// Step 2.
    pub fn vcpus_settled(self, frozen: Frozen) -> VcpusSettled {
        VcpusSettled { frozen }
    }
}

impl VcpusSettled {
    /// Step 3.
    pub fn doors_closed(self) -> DoorsClosed {
        DoorsClosed {
            frozen: self.frozen,
        }
    }
}

impl DoorsClosed {
    /// Step 4.
    pub fn connections_reset(self, resets: Resets) -> ConnectionsReset {
        ConnectionsReset {
            frozen: self.frozen,
            resets,
        }
    }
}

impl ConnectionsReset {
    /// Step 5.
    pub fn network_cut(self, network: Cut) -> NetworkCut {
        NetworkCut {
            frozen: self.frozen,
            resets: self.resets,
            network,
        }
    }
}

impl NetworkCut {
    /// Step 6.
    pub fn listeners_removed(self, removed: ListenersRemoved) -> Severed {
        Severed {
            network: self.network,
            publish: self.resets.publish.and(removed.publish),
            mediation: self.resets.mediation.and(removed.mediation),
            sessions: self.resets.sessions,
            frozen: self.frozen,
        }
    }
}

impl Severed {
    /// A workspace without a VM has no path to cut.
    pub const NOTHING_TO_CUT: Self = Self {
        network: Cut::None,
        publish: Cut::None,
        mediation: Cut::None,
        sessions: Cut::None,
        frozen: Frozen::NotAsked,
    };

    /// The paths that may still be open.
    pub fn open_paths(&self) -> Vec<Path> {
        [
            (Path::Network, self.network),
            (Path::Publish, self.publish),
            (Path::Mediation, self.mediation),
            (Path::Sessions, self.sessions),
        ]
        .into_iter()
        .filter(|(_, cut)| *cut == Cut::Failed)
        .map(|(path, _)| path)
        .collect()
    }

    /// Judges. `can_freeze` says whether the backend can stop vCPUs.
    pub fn verdict(&self, can_freeze: bool) -> Verdict {
        let open = self.open_paths();
        if open.is_empty() && self.frozen != Frozen::Failed {
            return Verdict::Contained;
        }
        let unfrozen = self.frozen != Frozen::Yes;
        let freeze_now = if !open.is_empty() && unfrozen && can_freeze {
            Freeze::Yes
        } else {
            Freeze::No
        };
        Verdict::Incomplete { open, freeze_now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Cut = Cut::Done { connections: 2 };
    const RESETS: Resets = Resets {
        sessions: Cut::None,
        publish: DONE,
        mediation: DONE,
    };
    const REMOVED: ListenersRemoved = ListenersRemoved {
        publish: DONE,
        mediation: Cut::None,
    };

    fn sever(frozen: Frozen, resets: Resets, network: Cut, removed: ListenersRemoved) -> Severed {
        Marked::begin(Freeze::No)
            .vcpus_settled(frozen)
            .doors_closed()
            .connections_reset(resets)
            .network_cut(network)
            .listeners_removed(removed)
    }

    #[test]
    fn a_path_with_two_steps_adds_them_up() {
        let severed = sever(Frozen::NotAsked, RESETS, DONE, REMOVED);
        assert_eq!(severed.publish, Cut::Done { connections: 4 });
        assert_eq!(severed.mediation, DONE);
        assert_eq!(severed.verdict(true), Verdict::Contained);
    }

    #[test]
    fn a_path_that_could_not_be_cut_is_named_and_the_vm_is_frozen_if_it_can_be() {
        let removed = ListenersRemoved {
            mediation: Cut::Failed,
            ..REMOVED
        };
        let severed = sever(Frozen::NotAsked, RESETS, Cut::Failed, removed);
        let open = vec![Path::Network, Path::Mediation];
        let expected = Verdict::Incomplete {
            open: open.clone(),
            freeze_now: Freeze::Yes,
        };
        assert_eq!(severed.verdict(true), expected);
        let expected = Verdict::Incomplete {
            open,
            freeze_now: Freeze::No,
        };
        assert_eq!(severed.verdict(false), expected);
    }

    #[test]
    fn a_frozen_vm_is_not_frozen_again() {
        let severed = sever(Frozen::Yes, RESETS, Cut::Failed, REMOVED);
        let expected = Verdict::Incomplete {
            open: vec![Path::Network],
            freeze_now: Freeze::No,
        };
        assert_eq!(severed.verdict(true), expected);
    }

    #[test]
    fn a_freeze_that_failed_is_no_containment() {
        let severed = sever(Frozen::Failed, RESETS, DONE, REMOVED);
        let expected = Verdict::Incomplete {
            open: Vec::new(),
            freeze_now: Freeze::No,
        };
        assert_eq!(severed.verdict(true), expected);
        assert_eq!(Severed::NOTHING_TO_CUT.verdict(true), Verdict::Contained);
    }

    #[test]
    fn a_failure_is_never_forgotten() {
        for other in [DONE, Cut::None, Cut::Failed] {
            assert_eq!(Cut::Failed.and(other), Cut::Failed);
            assert_eq!(other.and(Cut::Failed), Cut::Failed);
        }
    }
}
