//! The boot spec: what a guest is told about the workspace it is, from the workspace's spec and what
//! this boot has of its own. Pure; randomness and time come in as values.

use crate::backend::{Backend, GuestAddresses, GuestDevice};
use crate::convert::disk_mode_view;
use crate::launch_record::LaunchDocument;
use microagent_machine::spec::{DataDisk, MachineSpec, NetworkMode};
use microagent_types::GuestPath;
use microagent_wire::guest::boot_spec::{
    BootFiles, BootSpec, DataDisk as GuestDisk, DeviceSelector, DiskMode, GuestLimits,
    GuestNetwork, MaintenanceAccess, RootDisk, WorkloadSpec,
};
use microagent_wire::limits::{GUEST_SESSIONS_MAX, STDIN_BUFFER_BYTES_MAX};

/// Between two heartbeats.
pub(crate) const HEARTBEAT_MS: u64 = 2000;

/// What no spec has: fresh for every boot.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    /// For taking up a broken control connection.
    pub(crate) resume: String,
    /// Unix microseconds.
    pub(crate) time_unix_us: u64,
    /// Credited to the guest's pool.
    pub(crate) entropy: [u8; 64],
    /// The generation that both speak.
    pub(crate) generation: u32,
    /// Addresses that the host's network gave this boot; none where the backend knew them before.
    pub(crate) addresses: Option<GuestAddresses>,
}

/// The disks of this boot in device order: all of them, or those that a maintenance boot names.
pub(crate) fn disks_of_boot<'a>(
    spec: &'a MachineSpec,
    document: &LaunchDocument,
) -> Vec<&'a DataDisk> {
    spec.disks
        .iter()
        .filter(|disk| {
            document.maintenance.is_none() || document.maintenance_disks.contains(&disk.name)
        })
        .collect()
}

/// The spec for one boot.
pub(crate) fn boot_spec(
    backend: &dyn Backend,
    spec: &MachineSpec,
    document: &LaunchDocument,
    mac: Option<[u8; 6]>,
    files: Option<BootFiles>,
    fresh: Fresh,
) -> BootSpec {
    let maintenance = document.maintenance;
    let ordinary = maintenance.is_none();
    let workload = spec.workload.as_ref();
    let mut env = spec.env.clone();
    // A command that takes the workload's place has its environment, user and folder.
    if document.idle
        && let Some(workload) = workload
    {
        // Two environments that were each within the limit may not be together; the session names
        // what it needs in any case.
        let _ = env.merge(&workload.env);
    }
    BootSpec {
        generation: fresh.generation,
        boot_id: document.boot_id,
        resume: fresh.resume,
        hostname: spec.hostname.clone(),
        time_unix_us: fresh.time_unix_us,
        entropy: hexadecimal(&fresh.entropy),
        root: RootDisk {
            device: selector(backend.root_device()),
            mode: match maintenance {
                Some(MaintenanceAccess::Ro) => DiskMode::Ro,
                Some(MaintenanceAccess::Rw) | None => DiskMode::Rw,
            },
            grow: ordinary,
        },
        disks: disks_of_boot(spec, document)
            .into_iter()
            .enumerate()
            .map(|(index, disk)| GuestDisk {
                device: selector(backend.data_device(index)),
                mount: disk.mount.clone(),
                mode: match maintenance {
                    Some(MaintenanceAccess::Ro) => DiskMode::Ro,
                    Some(MaintenanceAccess::Rw) | None => disk_mode_view(disk.access),
                },
            })
            .collect(),
        files: files.filter(|_| ordinary),
        network: mac
            .filter(|_| ordinary && spec.network.mode != NetworkMode::Isolated)
            .map(|mac| {
                let given = fresh.addresses;
                let known = || backend.guest_addresses(&spec.network.dns);
                guest_network(given.unwrap_or_else(known), mac)
            }),
        env,
        user: workload
            .and_then(|workload| workload.user.as_ref())
            .map(|user| user.as_str().to_owned()),
        workdir: workload
            .map(|workload| workload.workdir.clone())
            .filter(|workdir| *workdir != GuestPath::root()),
        workload: workload
            .filter(|_| ordinary && !document.idle)
            .map(|workload| WorkloadSpec {
                argv: workload.argv.clone(),
                env: workload.env.clone(),
                user: workload.user.as_ref().map(|user| user.as_str().to_owned()),
                workdir: Some(workload.workdir.clone()),
                stop_signal: workload.stop_signal,
            }),
        maintenance,
        mediation_port: spec
            .mediation
            .as_ref()
            .filter(|_| ordinary)
            .map(|mediation| mediation.port),
        heartbeat_ms: HEARTBEAT_MS,
        limits: GuestLimits {
            sessions: GUEST_SESSIONS_MAX,
            stdin_bytes: STDIN_BUFFER_BYTES_MAX,
        },
    }
}

fn selector(device: GuestDevice) -> DeviceSelector {
    match device {
        GuestDevice::Path(path) => DeviceSelector::Path(path),
        GuestDevice::Serial(serial) => DeviceSelector::Serial(serial),
        GuestDevice::Lun(lun) => DeviceSelector::Lun(lun),
    }
}

fn guest_network(addresses: GuestAddresses, mac: [u8; 6]) -> GuestNetwork {
    let named = GuestNetwork {
        mac: Some(mac_text(mac)),
        ..GuestNetwork::default()
    };
    match addresses {
        GuestAddresses::Dhcp => GuestNetwork {
            dhcp: true,
            ..named
        },
        GuestAddresses::Static {
            mtu,
            address,
            prefix_length,
            gateway,
            v6,
            dns,
        } => GuestNetwork {
            mtu: Some(mtu),
            address: Some(address),
            prefix_length: Some(prefix_length),
            gateway: Some(gateway),
            address6: v6.map(|(address, _, _)| address),
            prefix_length6: v6.map(|(_, prefix_length, _)| prefix_length),
            gateway6: v6.map(|(_, _, gateway)| gateway),
            dns,
            ..named
        },
    }
}

/// A hardware address as people write it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
