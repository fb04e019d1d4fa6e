//! Host facts and a demand in, ordered steps or a refusal out.
//!
//! The order matters and is fixed: namespaces before the root that needs them, the network before
//! the capabilities that it needs are dropped, the parent-death signal after the last change of
//! credentials, since a change clears it. A part whose ground is missing is left out with its
//! reason; when all parts are demanded, that is a refusal which names every one of them.

use std::fmt;

use microagent_supervisor::backend::{ConfinementDemand, ConfinementPart};

use super::message::Report;

/// Whether a part can be had on this host.
pub type Availability = Result<(), Obstacle>;

/// Why a part can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The host does not allow or know it, in these words.
    Host(String),
    /// It rests on another part that can't be had.
    Needs(ConfinementPart),
    /// The user switched confinement off.
    SwitchedOff,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(reason) => formatter.write_str(reason),
            Self::Needs(part) => write!(formatter, "it needs `{}`", part.as_str()),
            Self::SwitchedOff => formatter.write_str("`MICROAGENT_CONFINEMENT` is `off`"),
        }
    }
}

/// What was found on the host, each part by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Whether this process may make the other namespaces without a user namespace.
    pub privileged: bool,
    /// User namespaces.
    pub user_namespace: Availability,
    /// Mount namespaces, given the right.
    pub mount_namespace: Availability,
    /// Whether the monitor is the first process of a pid namespace, or would be.
    pub pid_namespace: Availability,
    /// IPC namespaces, given the right.
    pub ipc_namespace: Availability,
    /// Network namespaces, given the right.
    pub network_namespace: Availability,
    /// A root of its own for the VMM, given a mount namespace.
    pub private_root: Availability,
    /// Landlock for the monitor.
    pub landlock: Availability,
    /// The VMM's own system call filter.
    pub seccomp: Availability,
}

impl HostFacts {
    /// Replaces what was expected by what was had.
    pub fn take_report(&mut self, report: &Report) {
        let had = |part: ConfinementPart| {
            if report.holds.contains(&part) {
                return Ok(());
            }
            let reason = report.missing.iter().find(|(missing, _)| *missing == part);
            let reason = reason.map_or("it was not set up", |(_, reason)| reason);
            Err(Obstacle::Host(reason.to_owned()))
        };
        self.user_namespace = had(ConfinementPart::UserNamespace);
        self.mount_namespace = had(ConfinementPart::MountNamespace);
        self.ipc_namespace = had(ConfinementPart::IpcNamespace);
        self.network_namespace = had(ConfinementPart::NetworkNamespace);
        self.private_root = had(ConfinementPart::PrivateRoot);
    }
}

/// A step of the way from the monitor's child to the VMM, or of the monitor itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Enter a user namespace that maps the caller to itself.
    UserNamespace,
    /// Enter a mount namespace.
    MountNamespace,
    /// Enter an IPC namespace.
    IpcNamespace,
    /// Enter a network namespace.
    NetworkNamespace,
    /// Make a root with the VMM's files and change to it.
    PrivateRoot,
    /// Drop every capability.
    DropCapabilities,
    /// Give up gaining privileges.
    NoNewPrivileges,
    /// Ask to end with the monitor.
    ParentDeathSignal,
    /// Ask the VMM for its own filter.
    VmmFilter,
    /// Restrict the monitor to its files.
    Landlock,
}

/// How this VMM is confined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What holds once it was done.
    pub holds: Vec<ConfinementPart>,
    /// What can't be had, and why.
    pub missing: Vec<(ConfinementPart, Obstacle)>,
}

/// All parts are demanded and these can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("confinement is required and {} cannot be had", list(missing))]
pub struct Refusal {
    /// The parts, each with its reason.
    pub missing: Vec<(ConfinementPart, Obstacle)>,
}

fn list(missing: &[(ConfinementPart, Obstacle)]) -> String {
    let words: Vec<String> = missing
        .iter()
        .map(|(part, obstacle)| format!("`{}` ({obstacle})", part.as_str()))
        .collect();
    words.join(", ")
}

/// Plans. With [`ConfinementDemand::Off`] only the pid namespace stays, which is there so that the
/// VM ends with its monitor and was made before anybody asked.
pub fn plan(facts: &HostFacts, demand: ConfinementDemand) -> Result<Plan, Refusal> {
    let mut plan = Plan {
        steps: Vec::new(),
        holds: Vec::new(),
        missing: Vec::new(),
    };
    for (part, availability) in availabilities(facts) {
        let availability = match (demand, part) {
            (ConfinementDemand::Off, part) if part != ConfinementPart::PidNamespace => {
                Err(Obstacle::SwitchedOff)
            }
            _ => availability,
        };
        match availability {
            Ok(()) => plan.holds.push(part),
            Err(obstacle) => plan.missing.push((part, obstacle)),
        }
    }
    if demand == ConfinementDemand::Required && !plan.missing.is_empty() {
        return Err(Refusal {
            missing: plan.missing,
        });
    }
    plan.steps = steps(&plan.holds);
    Ok(plan)
}

/// Each part in the protocol's order, with what it rests on taken into account.
pub fn availabilities(facts: &HostFacts) -> Vec<(ConfinementPart, Availability)> {
    let may_unshare = |own: &Availability| match (&facts.user_namespace, facts.privileged) {
        (Err(_), false) => Err(Obstacle::Needs(ConfinementPart::UserNamespace)),
        _ => own.clone(),
    };
    let mount_namespace = may_unshare(&facts.mount_namespace);
    let private_root = match mount_namespace {
        Err(_) => Err(Obstacle::Needs(ConfinementPart::MountNamespace)),
        Ok(()) => facts.private_root.clone(),
    };
    ConfinementPart::ALL
        .into_iter()
        .map(|part| {
            let availability = match part {
                ConfinementPart::NoNewPrivileges => Ok(()),
                ConfinementPart::UserNamespace => facts.user_namespace.clone(),
                ConfinementPart::MountNamespace => mount_namespace.clone(),
                ConfinementPart::PidNamespace => facts.pid_namespace.clone(),
                ConfinementPart::IpcNamespace => may_unshare(&facts.ipc_namespace),
                ConfinementPart::NetworkNamespace => may_unshare(&facts.network_namespace),
                ConfinementPart::PrivateRoot => private_root.clone(),
                // What still makes mounts for the VMM must have been done with before.
                ConfinementPart::Landlock if private_root.is_err() => {
                    Err(Obstacle::Needs(ConfinementPart::PrivateRoot))
                }
                ConfinementPart::Landlock => facts.landlock.clone(),
                ConfinementPart::Seccomp => facts.seccomp.clone(),
            };
            (part, availability)
        })
        .collect()
}

fn steps(holds: &[ConfinementPart]) -> Vec<Step> {
    let has = |part| holds.contains(&part);
    let rows = [
        (has(ConfinementPart::UserNamespace), Step::UserNamespace),
        (has(ConfinementPart::MountNamespace), Step::MountNamespace),
        (has(ConfinementPart::IpcNamespace), Step::IpcNamespace),
        (
            has(ConfinementPart::NetworkNamespace),
            Step::NetworkNamespace,
        ),
        (has(ConfinementPart::PrivateRoot), Step::PrivateRoot),
        (has(ConfinementPart::PrivateRoot), Step::DropCapabilities),
        (has(ConfinementPart::NoNewPrivileges), Step::NoNewPrivileges),
        // Not confinement but a promise of its own: it is taken in any case.
        (true, Step::ParentDeathSignal),
        (has(ConfinementPart::Seccomp), Step::VmmFilter),
        (has(ConfinementPart::Landlock), Step::Landlock),
    ];
    rows.into_iter()
        .filter_map(|(taken, step)| taken.then_some(step))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> HostFacts {
        HostFacts {
            privileged: false,
            user_namespace: Ok(()),
            mount_namespace: Ok(()),
            pid_namespace: Ok(()),
            ipc_namespace: Ok(()),
            network_namespace: Ok(()),
            private_root: Ok(()),
            landlock: Ok(()),
            seccomp: Ok(()),
        }
    }

    fn host(reason: &str) -> Availability {
        Err(Obstacle::Host(reason.to_owned()))
    }

    #[test]
    fn a_host_that_allows_everything_gets_everything_in_order() {
        for demand in [ConfinementDemand::Required, ConfinementDemand::Auto] {
            let plan = plan(&all(), demand).unwrap();
            assert_eq!(plan.holds, ConfinementPart::ALL);
            assert_eq!(
                plan.steps,
                [
                    Step::UserNamespace,
                    Step::MountNamespace,
                    Step::IpcNamespace,
                    Step::NetworkNamespace,
                    Step::PrivateRoot,
                    Step::DropCapabilities,
                    Step::NoNewPrivileges,
                    Step::ParentDeathSignal,
                    Step::VmmFilter,
                    Step::Landlock,
                ]
            );
        }
    }

    #[test]
    fn each_missing_part_alone_is_left_out_or_refused() {
        type Take = fn(&mut HostFacts) -> &mut Availability;
        let rows: [(ConfinementPart, Take); 8] = [
            (ConfinementPart::UserNamespace, |f| &mut f.user_namespace),
            (ConfinementPart::MountNamespace, |f| &mut f.mount_namespace),
            (ConfinementPart::PidNamespace, |f| &mut f.pid_namespace),
            (ConfinementPart::IpcNamespace, |f| &mut f.ipc_namespace),
            (ConfinementPart::NetworkNamespace, |f| {
                &mut f.network_namespace
            }),
            (ConfinementPart::PrivateRoot, |f| &mut f.private_root),
            (ConfinementPart::Landlock, |f| &mut f.landlock),
            (ConfinementPart::Seccomp, |f| &mut f.seccomp),
        ];
        for (part, take) in rows {
            let mut facts = all();
            *take(&mut facts) = host("not here");
            let auto = plan(&facts, ConfinementDemand::Auto).unwrap();
            assert!(!auto.holds.contains(&part), "{part:?}");
            assert!(auto.missing.iter().any(|(missing, _)| *missing == part));
            let refusal = plan(&facts, ConfinementDemand::Required).unwrap_err();
            assert!(refusal.to_string().contains(part.as_str()), "{refusal}");
        }
    }

    #[test]
    fn without_a_user_namespace_only_root_gets_the_others() {
        let mut facts = all();
        facts.user_namespace = host("max_user_namespaces is 0");
        let missing = plan(&facts, ConfinementDemand::Auto).unwrap().missing;
        let parts: Vec<_> = missing.iter().map(|(part, _)| *part).collect();
        assert_eq!(
            parts,
            [
                ConfinementPart::UserNamespace,
                ConfinementPart::MountNamespace,
                ConfinementPart::IpcNamespace,
                ConfinementPart::NetworkNamespace,
                ConfinementPart::PrivateRoot,
                ConfinementPart::Landlock,
            ]
        );
        facts.privileged = true;
        let missing = plan(&facts, ConfinementDemand::Auto).unwrap().missing;
        assert_eq!(missing.len(), 1);
    }

    #[test]
    fn what_was_had_goes_before_what_was_expected() {
        let mut facts = all();
        facts.take_report(&Report {
            holds: vec![ConfinementPart::UserNamespace],
            missing: vec![(ConfinementPart::MountNamespace, "denied".to_owned())],
            tap: None,
        });
        assert_eq!(facts.user_namespace, Ok(()));
        assert_eq!(facts.mount_namespace, host("denied"));
        assert_eq!(facts.private_root, host("it was not set up"));
        assert_eq!(facts.seccomp, Ok(()));
    }

    #[test]
    fn off_keeps_what_ends_the_vm_with_its_monitor() {
        let plan = plan(&all(), ConfinementDemand::Off).unwrap();
        assert_eq!(plan.holds, [ConfinementPart::PidNamespace]);
        assert_eq!(plan.steps, [Step::ParentDeathSignal]);
    }

    #[test]
    fn a_refusal_names_every_missing_part_with_its_reason() {
        let mut facts = all();
        facts.landlock = host("the kernel has no Landlock");
        facts.ipc_namespace = host("not allowed");
        assert_eq!(
            plan(&facts, ConfinementDemand::Required)
                .unwrap_err()
                .to_string(),
            "confinement is required and `ipc_ns` (not allowed), `landlock` (the kernel has no \
             Landlock) cannot be had"
        );
    }
}
