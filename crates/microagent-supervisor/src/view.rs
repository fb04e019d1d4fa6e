//! A workspace as callers see it, from its two records and what only a living monitor knows.
//!
//! Pure: it looks at nothing. Values of environments and the contents of files never come in here.

use crate::convert::{
    clone_view, disk_format_view, disk_mode_view, image_view, kernel_view, network_mode_view,
    resources_view, workload_view,
};
use crate::disk_sizes::DiskSizes;
use microagent_machine::spec::{Lifetime, MachineSpec, Ownership, Requirement};
use microagent_machine::state::State;
use microagent_state::paths::Rotation;
use microagent_state::runtime_record::{
    BootRecord, ExitRecord, InterfaceRecord, NetworkRecord, QuarantineRecord,
};
use microagent_state::{RuntimeRecord, WorkspacePaths, WorkspaceRecord};
use microagent_types::{AbsPath, ByteSize, HostPort, PublishSpec, SignalName, Timestamp};
use microagent_wire::guest::boot_spec::MaintenanceAccess;
use microagent_wire::supervisor::response::{
    ConfinementView, DiskView, ExitView, GuestView, InterfaceView, LastEvent, MaintenanceView,
    MediationView, NetworkView, PendingView, PublishView, QuarantineView, Readiness, RootDiskView,
    Severed, Traffic, VmView, Workspace, WorkspacePathsView,
};
use serde_json::Value;
use std::path::Path;

/// What is known beside the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    /// The records could not be checked against the world in time.
    pub(crate) stale: bool,
    /// Whether the recorded VM lives.
    pub(crate) vm_alive: bool,
    /// What the next start would use.
    pub(crate) accelerator: Option<String>,
    /// What the disks take.
    pub(crate) disk_sizes: DiskSizes,
    /// The last event.
    pub(crate) last_event: Option<LastEvent>,
    /// What a living monitor knows.
    pub(crate) live: Option<Live>,
}

/// What changes too often for a record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// The guest beats.
    pub(crate) responsive: bool,
    /// When it last did.
    pub(crate) last_heartbeat: Option<Timestamp>,
    /// What is ready.
    pub(crate) readiness: Readiness,
    /// Published ports as they are.
    pub(crate) publish: Vec<PublishView>,
    /// The mediation channel as it is.
    pub(crate) mediation: Option<MediationView>,
    /// What has crossed.
    pub(crate) traffic: Option<Traffic>,
}

/// The view.
pub(crate) fn workspace_view(
    paths: &WorkspacePaths,
    workspace: &WorkspaceRecord,
    spec: &MachineSpec,
    runtime: &RuntimeRecord,
    state: State,
    beside: Beside,
    now: Timestamp,
) -> Workspace {
    let live = beside.live.unwrap_or_default();
    Workspace {
        name: workspace.name.clone(),
        id: workspace.id,
        backend: workspace.backend,
        arch: spec.arch,
        created_at: workspace.created_at,
        created_by: workspace.created_by.clone(),
        ephemeral: spec.lifetime == Lifetime::Ephemeral,
        profile: spec.profile.clone(),
        labels: spec.labels.clone(),
        image: spec.image.as_ref().map(image_view),
        hostname: spec.hostname.clone(),
        state: state.name().as_str().to_owned(),
        reason: state.reason().to_owned(),
        state_since: runtime.state_since(),
        detail: runtime.detail().map(str::to_owned),
        stale: beside.stale,
        observed_at: now,
        accelerator: match runtime.accelerator() {
            Some(used) if state.is_live() => Some(used.as_str().to_owned()),
            _ => beside.accelerator,
        },
        resources: resources_view(spec),
        kernel: kernel_view(&spec.kernel),
        root_disk: root_disk_view(spec, beside.disk_sizes.root_allocated),
        disks: disk_views(spec, &beside.disk_sizes),
        workload: workload_view(spec.workload.as_ref()),
        env_names: spec
            .env
            .iter()
            .map(|(name, _)| name.as_str().to_owned())
            .collect(),
        network: NetworkView {
            traffic: live.traffic,
            ..network_view(spec, runtime, live.publish)
        },
        mediation: live.mediation.or_else(|| mediation_at_rest(spec)),
        readiness: live.readiness,
        vm: runtime
            .boot
            .as_ref()
            .filter(|_| state.is_live() || beside.vm_alive)
            .map(|boot| vm_view(runtime, boot, beside.vm_alive)),
        guest: runtime
            .guest
            .as_ref()
            .filter(|_| state.is_live())
            .map(|guest| GuestView {
                generation: guest.generation,
                init_version: guest.init_version.clone(),
                features: guest.features.clone(),
                last_heartbeat: live.last_heartbeat,
                responsive: live.responsive,
            }),
        confinement: runtime
            .confinement
            .as_ref()
            .filter(|_| state.is_live())
            .map(|confinement| ConfinementView {
                active: !confinement.parts.is_empty(),
                required: confinement.required,
                parts: confinement.parts.clone(),
            }),
        pending: pending_view(runtime),
        quarantine: runtime.quarantine.as_ref().map(quarantine_view),
        maintenance: runtime
            .maintenance
            .as_ref()
            .map(|maintenance| MaintenanceView {
                access: match maintenance.access.as_str() {
                    "rw" => MaintenanceAccess::Rw,
                    _ => MaintenanceAccess::Ro,
                },
                since: maintenance.since,
                boot_id: maintenance.boot_id,
            }),
        exit: runtime.exit.as_ref().map(exit_view),
        last_event: beside.last_event,
        paths: WorkspacePathsView {
            workspace: absolute(paths.folder()),
            serial_log: absolute(&paths.serial_log(Rotation::Current)),
            events: absolute(&paths.events()),
            run: absolute(&paths.run_folder()),
        },
    }
}

fn root_disk_view(spec: &MachineSpec, allocated_bytes: Option<ByteSize>) -> RootDiskView {
    RootDiskView {
        path: spec.root_disk.path.clone(),
        format: disk_format_view(spec.root_disk.format),
        size_bytes: spec.root_disk.size,
        allocated_bytes,
        clone: spec.root_disk.clone.map(clone_view),
    }
}

fn disk_views(spec: &MachineSpec, sizes: &DiskSizes) -> Vec<DiskView> {
    let sizes = sizes.data.iter().copied().chain(std::iter::repeat(None));
    spec.disks
        .iter()
        .zip(sizes)
        .map(|(disk, size_bytes)| DiskView {
            name: disk.name.clone(),
            path: disk.path.clone(),
            mount: disk.mount.clone(),
            mode: disk_mode_view(disk.access),
            size_bytes,
            owned: disk.ownership == Ownership::Owned,
        })
        .collect()
}

/// The act under way.
pub(crate) fn pending_view(runtime: &RuntimeRecord) -> Option<PendingView> {
    runtime.pending.as_ref().map(|pending| PendingView {
        verb: pending.verb.clone(),
        request_id: Some(pending.request_id.clone()),
        at: pending.at,
        deadline: pending.deadline,
        acknowledged: pending.acknowledged,
    })
}

/// A path below the state directory, which was parsed as an absolute one.
pub(crate) fn absolute(path: &Path) -> AbsPath {
    AbsPath::try_from(path).expect("paths below an absolute directory are absolute and UTF-8")
}

fn vm_view(runtime: &RuntimeRecord, boot: &BootRecord, alive: bool) -> VmView {
    VmView {
        pid: runtime.vm.as_ref().and_then(|vm| vm.pid),
        system_id: runtime.vm.as_ref().and_then(|vm| vm.system_id.clone()),
        monitor_pid: runtime.monitor.as_ref().map(|monitor| monitor.pid),
        started_at: boot.started_at,
        boot_id: boot.id,
        boot_count: boot.number,
        ready_ms: boot.ready_at.map(|ready| ready.ms_since(boot.started_at)),
        alive,
    }
}

fn network_view(
    spec: &MachineSpec,
    runtime: &RuntimeRecord,
    live: Vec<PublishView>,
) -> NetworkView {
    let record: Option<&NetworkRecord> = runtime.network.as_ref();
    let interface = record.and_then(|network| network.interface.as_ref());
    NetworkView {
        mode: network_mode_view(spec.network.mode),
        engine: record.and_then(|network| network.engine.clone()),
        address: interface
            .and_then(|interface| interface.address)
            .map(|address| address.to_string()),
        interface: interface.map(interface_view),
        reach: spec.network.reach.clone(),
        severed: record.is_some_and(|network| network.severed),
        error: record.and_then(|network| network.error.clone()),
        publish: if live.is_empty() {
            spec.network.publish.iter().map(publish_at_rest).collect()
        } else {
            live
        },
        traffic: None,
    }
}

fn interface_view(interface: &InterfaceRecord) -> InterfaceView {
    let text = |address: &Option<std::net::IpAddr>| address.map(|address| address.to_string());
    InterfaceView {
        mac: interface.mac.clone(),
        address: text(&interface.address),
        prefix_length: interface.prefix_length,
        gateway: text(&interface.gateway),
        address6: text(&interface.address6),
        gateway6: text(&interface.gateway6),
        dns: interface.dns.iter().map(ToString::to_string).collect(),
        mtu: interface.mtu,
    }
}

fn publish_at_rest(publish: &PublishSpec) -> PublishView {
    publish_view(publish, publish.host_port, false)
}

/// A published port without connections; `host_port` is the real one.
pub(crate) fn publish_view(
    publish: &PublishSpec,
    host_port: HostPort,
    listening: bool,
) -> PublishView {
    PublishView {
        host: publish.host,
        host_port,
        guest_port: publish.guest_port,
        protocol: "tcp".to_owned(),
        listening,
        open_connections: 0,
        total_connections: 0,
        error: None,
    }
}

fn mediation_at_rest(spec: &MachineSpec) -> Option<MediationView> {
    spec.mediation.as_ref().map(|mediation| MediationView {
        port: mediation.port,
        target: mediation.target.clone(),
        required: mediation.requirement == Requirement::Required,
        ready: false,
        error: None,
        open_connections: 0,
        total_connections: 0,
        refused_connections: 0,
        bytes_in: 0,
        bytes_out: 0,
    })
}

fn quarantine_view(quarantine: &QuarantineRecord) -> QuarantineView {
    QuarantineView {
        at: quarantine.at,
        note: quarantine.note.clone(),
        frozen: quarantine.frozen,
        active: quarantine.active,
        released_at: quarantine.released_at,
        // What another release wrote there is not guessed at.
        severed: serde_json::from_value::<Severed>(Value::Object(quarantine.severed.clone())).ok(),
    }
}

fn exit_view(exit: &ExitRecord) -> ExitView {
    ExitView {
        code: exit.code,
        signal: exit
            .signal
            .and_then(|signal| u8::try_from(signal).ok())
            .and_then(SignalName::from_number)
            .map(|signal| signal.to_string()),
        message: exit.message.clone(),
        ended_at: exit.ended_at,
    }
}
