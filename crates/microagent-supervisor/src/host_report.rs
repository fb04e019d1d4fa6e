//! What `host` answers: the backend's facts in the protocol's words. A supervisor reports its own
//! backend only.

use crate::backend::{Backend, HostFacts, Versions};
use crate::convert::network_mode_view;
use microagent_machine::Capability;
use microagent_machine::spec::DISKS_MAX;
use microagent_types::{AbsPath, Arch, ByteSize, VcpuCount};
use microagent_wire::supervisor::response::{
    BackendReport, ConfinementPart, ConfinementReport, EntitlementsReport, HostLimits, HostReport,
    KvmReport, NetworkModeReport, ProgramReport,
};

/// The report of this backend on this host.
pub(crate) fn host_report(
    backend: &dyn Backend,
    versions: Versions,
    arch: Arch,
    own: Option<AbsPath>,
) -> HostReport {
    report_of(backend, backend.host_facts(versions), arch, own)
}

fn report_of(
    backend: &dyn Backend,
    facts: HostFacts,
    arch: Arch,
    own: Option<AbsPath>,
) -> HostReport {
    let memory = ByteSize::from_bytes(facts.memory_bytes);
    HostReport {
        os: facts.os,
        os_version: facts.os_version,
        arch,
        cpus: facts.cpus,
        memory_bytes: memory,
        backends: vec![BackendReport {
            name: backend.name(),
            available: facts.engine.unavailable.is_none(),
            reason: facts.engine.unavailable,
            binary: facts.engine.binary,
            version: facts.engine.version,
            supervisor: own,
        }],
        kvm: facts.kvm.map(|kvm| KvmReport {
            present: kvm.present,
            openable: kvm.openable,
            api_version: kvm.api_version,
            cpu_flag: kvm.cpu_flag,
            usable: kvm.usable,
            override_: kvm.override_word,
        }),
        accelerator: facts.accelerator.map(|used| used.as_str().to_owned()),
        programs: facts
            .programs
            .into_iter()
            .map(|program| ProgramReport {
                name: program.name,
                purpose: program.purpose,
                found: program.path.is_some(),
                path: program.path,
                version: program.version,
            })
            .collect(),
        confinement: ConfinementReport {
            required: facts.confinement.required,
            parts: facts
                .confinement
                .parts
                .into_iter()
                .map(|(part, held)| ConfinementPart {
                    name: part.as_str().to_owned(),
                    active: held.is_ok(),
                    reason: held.err(),
                })
                .collect(),
        },
        network_modes: facts
            .network_modes
            .into_iter()
            .map(|mode| NetworkModeReport {
                mode: network_mode_view(mode.mode),
                available: mode.unavailable.is_none(),
                reason: mode.unavailable,
            })
            .collect(),
        administrator: facts.administrator,
        entitlements: facts
            .entitlements
            .map(|(virtualization, networking)| EntitlementsReport {
                virtualization,
                networking,
            }),
        capabilities: Capability::ALL
            .iter()
            .map(|one| (one.as_str().to_owned(), backend.capabilities().has(*one)))
            .collect(),
        limits: HostLimits {
            cpus: facts.cpus.min(u32::from(VcpuCount::MAX)),
            disks: u32::try_from(DISKS_MAX).unwrap_or(u32::MAX),
            memory_bytes: memory,
        },
    }
}
