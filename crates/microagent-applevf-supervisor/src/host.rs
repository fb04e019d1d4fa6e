//! What a host has for this backend, and what follows from it. Pure: the framework is asked elsewhere.

use microagent_machine::Accelerator;
use microagent_supervisor::backend::{
    BackendError, ConfinementDemand, ConfinementFacts, EngineFacts, HostFacts, HostNeeds,
    HostReady, NetworkMode, NetworkModeFacts,
};
use microagent_types::ByteSize;

use crate::failures;

/// A host without the framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Virtualization.framework is a part of macOS, and this host is another system")]
pub struct WrongHost;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Version of macOS.
    pub os_version: String,
    /// Processors.
    pub cpus: u32,
    /// Memory of the host.
    pub memory_bytes: u64,
    /// `VZVirtualMachine.isSupported`.
    pub is_supported: bool,
    /// What the signature of this executable carries.
    pub entitlements: Entitlements,
    /// Identifiers of what a guest could be bridged to; empty without the entitlement.
    pub interfaces: Vec<String>,
}

/// Entitlements of this executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entitlements {
    /// `com.apple.security.virtualization`.
    pub virtualization: bool,
    /// `com.apple.vm.networking`.
    pub networking: bool,
}

/// Why no machine can be made, or none with that network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Not a Mac.
    #[error(transparent)]
    WrongHost(WrongHost),
    /// The framework is there and says no.
    #[error("this Mac cannot run virtual machines")]
    NotSupported,
    /// The signature lacks what the framework demands.
    #[error(
        "the supervisor is not signed with the entitlement `com.apple.security.virtualization`"
    )]
    NotEntitled,
    /// The signature lacks what a bridge demands.
    #[error(
        "the network mode `bridged` needs the entitlement `com.apple.vm.networking`, and the \
         supervisor is signed without it"
    )]
    NoBridge,
    /// The framework's networks give addresses by DHCP alone.
    #[error(
        "the network mode `{mode}` gives the guest its addresses by DHCP, which guest init does not \
         speak yet"
    )]
    NoAddresses {
        /// `nat` or `bridged`.
        mode: &'static str,
    },
    /// There is no confinement to have.
    #[error(
        "confinement is required, and on macOS the VM runs in the monitor's process without any of it"
    )]
    NoConfinement,
}

/// Why no machine at all can be made; none when one can.
fn obstacle(found: &Result<Findings, WrongHost>) -> Option<Obstacle> {
    match found {
        Err(wrong) => Some(Obstacle::WrongHost(*wrong)),
        Ok(found) if !found.is_supported => Some(Obstacle::NotSupported),
        Ok(found) if !found.entitlements.virtualization => Some(Obstacle::NotEntitled),
        Ok(_) => None,
    }
}

/// Why a network mode does not work on a host on which a machine can be made; none when it does.
fn obstacle_of_mode(found: &Findings, mode: NetworkMode) -> Option<Obstacle> {
    match mode {
        NetworkMode::Isolated => None,
        NetworkMode::Bridged if !found.entitlements.networking => Some(Obstacle::NoBridge),
        NetworkMode::Bridged => Some(Obstacle::NoAddresses { mode: "bridged" }),
        NetworkMode::Nat => Some(Obstacle::NoAddresses { mode: "nat" }),
    }
}

/// Whether a machine could be made now.
pub fn check(
    found: &Result<Findings, WrongHost>,
    needs: HostNeeds,
) -> Result<HostReady, Vec<BackendError>> {
    let mut obstacles: Vec<Obstacle> = obstacle(found).into_iter().collect();
    if let Ok(found) = found {
        obstacles.extend(obstacle_of_mode(found, needs.network));
    }
    if needs.confinement == ConfinementDemand::Required {
        obstacles.push(Obstacle::NoConfinement);
    }
    match found {
        Ok(found) if obstacles.is_empty() => Ok(HostReady {
            accelerator: Accelerator::Apple,
            host_memory: ByteSize::from_bytes(found.memory_bytes),
            engine_version: Some(found.os_version.clone()),
            warnings: Vec::new(),
        }),
        _ => Err(obstacles.into_iter().map(failures::obstacle).collect()),
    }
}

/// Everything that `host` tells.
pub fn facts(found: &Result<Findings, WrongHost>, demand: ConfinementDemand) -> HostFacts {
    let unavailable = obstacle(found).map(|obstacle| obstacle.to_string());
    let known = found.as_ref().ok();
    let modes = [
        NetworkMode::Nat,
        NetworkMode::Isolated,
        NetworkMode::Bridged,
    ];
    let modes = modes.map(|mode| NetworkModeFacts {
        mode,
        unavailable: unavailable.clone().or_else(|| {
            let obstacle = obstacle_of_mode(known?, mode)?;
            Some(obstacle.to_string())
        }),
    });
    HostFacts {
        os: known.map_or(std::env::consts::OS, |_| "macos").to_owned(),
        os_version: known.map_or_else(String::new, |found| found.os_version.clone()),
        cpus: known.map_or(0, |found| found.cpus),
        memory_bytes: known.map_or(0, |found| found.memory_bytes),
        accelerator: unavailable.is_none().then_some(Accelerator::Apple),
        engine: EngineFacts {
            unavailable,
            binary: None,
            version: known.map(|found| found.os_version.clone()),
        },
        kvm: None,
        programs: Vec::new(),
        confinement: ConfinementFacts {
            required: demand == ConfinementDemand::Required,
            parts: Vec::new(),
        },
        network_modes: modes.to_vec(),
        administrator: None,
        entitlements: known.map(|found| {
            let Entitlements {
                virtualization,
                networking,
            } = found.entitlements;
            (virtualization, networking)
        }),
    }
}

#[cfg(test)]
mod tests;
