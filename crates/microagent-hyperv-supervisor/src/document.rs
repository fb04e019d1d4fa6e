//! A boot becomes a compute system document: values in, values out.

use std::collections::BTreeMap;

use microagent_supervisor::backend::{Disk, DiskAccess, LaunchSpec};
use microagent_types::{AbsPath, VsockPort};

use crate::api::{
    Attachment, Chipset, ComPort, ComputeSystem, ComputeTopology, Devices, HvSocket,
    HvSocketConfig, LinuxKernelDirect, Memory, Modification, NetworkAdapter, Processor, Scsi,
    Service, Version, VirtualMachine,
};
use crate::network::mac_text;
use crate::service_id::service_id;

/// Whose compute systems ours are.
pub const OWNER: &str = "microagent";
/// SYSTEM and Administrators, and nobody else.
const ADMINISTRATORS: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)";
const CONTROLLER: &str = "root";
const ADAPTER: &str = "eth0";
const FIXED_DISK: &str = "VirtualDisk";
const MEBIBYTE: u64 = 1 << 20;

/// Why a boot has no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Hyper-V carries ports up to 2147483647.
    #[error("Hyper-V carries no port `{}`", port.get())]
    PortTooLarge {
        /// The port.
        port: VsockPort,
    },
    /// The service attaches virtual disks alone.
    #[error("disk `{path}` is no VHD, and compute systems attach no other")]
    NotVhd {
        /// The disk.
        path: AbsPath,
    },
}

/// The document of a boot. `listeners` are the ports that the guest may dial, `endpoint` is the id of
/// its endpoint in the host's network.
pub fn compute_system(
    spec: &LaunchSpec,
    listeners: &[VsockPort],
    endpoint: Option<&str>,
) -> Result<ComputeSystem, DocumentError> {
    let disks = std::iter::once(&spec.root_disk).chain(&spec.disks);
    let attachments = disks
        .enumerate()
        .map(|(unit, disk)| Ok((unit.to_string(), attachment(disk)?)))
        .collect::<Result<_, _>>()?;
    let adapter = spec.nic.as_ref().zip(endpoint).map(|(nic, endpoint)| {
        let adapter = NetworkAdapter {
            endpoint_id: endpoint.to_owned(),
            mac_address: mac_text(nic.mac),
        };
        (ADAPTER.to_owned(), adapter)
    });
    Ok(ComputeSystem {
        owner: OWNER.to_owned(),
        schema_version: Version { major: 2, minor: 1 },
        should_terminate_on_last_handle_closed: true,
        virtual_machine: VirtualMachine {
            stop_on_reset: true,
            chipset: Chipset {
                linux_kernel_direct: LinuxKernelDirect {
                    kernel_file_path: spec.kernel.to_string(),
                    init_rd_path: spec.initramfs.to_string(),
                    kernel_cmd_line: spec.command_line.clone(),
                },
            },
            compute_topology: ComputeTopology {
                memory: Memory {
                    size_in_mb: spec.memory.bytes() / MEBIBYTE,
                    allow_overcommit: true,
                },
                processor: Processor {
                    count: u32::from(spec.cpus.get()),
                },
            },
            devices: Devices {
                scsi: BTreeMap::from([(CONTROLLER.to_owned(), Scsi { attachments })]),
                com_ports: BTreeMap::from([(
                    "0".to_owned(),
                    ComPort {
                        named_pipe: console_pipe(spec),
                    },
                )]),
                hv_socket: HvSocket {
                    hv_socket_config: HvSocketConfig {
                        default_bind_security_descriptor: ADMINISTRATORS.to_owned(),
                        default_connect_security_descriptor: ADMINISTRATORS.to_owned(),
                        service_table: services(listeners)?,
                    },
                },
                network_adapters: adapter.into_iter().collect(),
            },
        },
    })
}

/// The pipe of the first serial port: `…\microagent-0123456789abcdef-com1`.
pub fn console_pipe(spec: &LaunchSpec) -> String {
    format!("{}-com1", spec.run.socket_prefix)
}

/// Takes the guest's network away.
pub fn remove_adapter() -> Modification {
    Modification {
        resource_path: format!("VirtualMachine/Devices/NetworkAdapters/{ADAPTER}"),
        request_type: "Remove",
        settings: None,
    }
}

/// Closes a port of the host to the guest for the rest of the boot. None as for [`service_id`].
pub fn disable_service(port: VsockPort) -> Option<Modification> {
    let id = service_id(port)?;
    Some(Modification {
        resource_path: format!("VirtualMachine/Devices/HvSocket/HvSocketConfig/ServiceTable/{id}"),
        request_type: "Update",
        settings: Some(Service {
            disabled: Some(true),
            ..Service::default()
        }),
    })
}

fn id_of(port: VsockPort) -> Result<String, DocumentError> {
    service_id(port).ok_or(DocumentError::PortTooLarge { port })
}

fn services(listeners: &[VsockPort]) -> Result<BTreeMap<String, Service>, DocumentError> {
    let dialled = Service {
        connect_security_descriptor: Some(ADMINISTRATORS.to_owned()),
        ..Service::default()
    };
    let mut services = BTreeMap::from([(id_of(VsockPort::SERVICE)?, dialled)]);
    for port in listeners {
        let listened = Service {
            allow_wildcard_binds: Some(false),
            bind_security_descriptor: Some(ADMINISTRATORS.to_owned()),
            ..Service::default()
        };
        services.insert(id_of(*port)?, listened);
    }
    Ok(services)
}

fn attachment(disk: &Disk) -> Result<Attachment, DocumentError> {
    let ending = disk.path.as_path().extension();
    if !ending.is_some_and(|ending| ending.eq_ignore_ascii_case("vhd")) {
        let path = disk.path.clone();
        return Err(DocumentError::NotVhd { path });
    }
    Ok(Attachment {
        kind: FIXED_DISK,
        path: disk.path.to_string(),
        read_only: disk.access == DiskAccess::ReadOnly,
    })
}

#[cfg(test)]
mod tests;
