//! The documents of the Host Compute Service and of the Host Compute Network, as their schema has them.
//!
//! Names and nesting are Microsoft's. What we never set is not here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that `HcsCreateComputeSystem` is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ComputeSystem {
    /// Whose it is.
    pub owner: String,
    /// Which schema this is.
    pub schema_version: Version,
    /// It ends with the process that holds it.
    pub should_terminate_on_last_handle_closed: bool,
    /// The machine.
    pub virtual_machine: VirtualMachine,
}

/// A version.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Before the dot.
    pub major: u32,
    /// Behind it.
    pub minor: u32,
}

/// The machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VirtualMachine {
    /// A reset of the guest ends it.
    pub stop_on_reset: bool,
    /// How it boots.
    pub chipset: Chipset,
    /// Memory and processors.
    pub compute_topology: ComputeTopology,
    /// Everything else.
    pub devices: Devices,
}

/// How it boots.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Chipset {
    /// A kernel without firmware.
    pub linux_kernel_direct: LinuxKernelDirect,
}

/// A kernel without firmware.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LinuxKernelDirect {
    /// The uncompressed kernel.
    pub kernel_file_path: String,
    /// The initramfs.
    pub init_rd_path: String,
    /// The command line.
    pub kernel_cmd_line: String,
}

/// Memory and processors.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ComputeTopology {
    /// Memory.
    pub memory: Memory,
    /// Processors.
    pub processor: Processor,
}

/// Memory.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// How much.
    #[serde(rename = "SizeInMB")]
    pub size_in_mb: u64,
    /// It is taken from the host as the guest touches it.
    #[serde(rename = "AllowOvercommit")]
    pub allow_overcommit: bool,
}

/// Processors.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Processor {
    /// How many.
    pub count: u32,
}

/// Disks, console, sockets, network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Devices {
    /// Controllers by name.
    pub scsi: BTreeMap<String, Scsi>,
    /// Serial ports by number.
    pub com_ports: BTreeMap<String, ComPort>,
    /// Hyper-V sockets.
    pub hv_socket: HvSocket,
    /// Adapters by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub network_adapters: BTreeMap<String, NetworkAdapter>,
}

/// A controller.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scsi {
    /// Disks by logical unit.
    pub attachments: BTreeMap<String, Attachment>,
}

/// A disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attachment {
    /// Its kind.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// The image.
    pub path: String,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// A serial port.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ComPort {
    /// The pipe that carries it.
    pub named_pipe: String,
}

/// Hyper-V sockets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HvSocket {
    /// Who may use them.
    pub hv_socket_config: HvSocketConfig,
}

/// Who may use Hyper-V sockets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HvSocketConfig {
    /// Who may listen where nothing else is said.
    pub default_bind_security_descriptor: String,
    /// Who may connect where nothing else is said.
    pub default_connect_security_descriptor: String,
    /// Services by id.
    pub service_table: BTreeMap<String, Service>,
}

/// A service.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    /// Whether one listener may serve every machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_wildcard_binds: Option<bool>,
    /// Who may listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_security_descriptor: Option<String>,
    /// Who may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_security_descriptor: Option<String>,
    /// Nobody may use it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A network adapter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkAdapter {
    /// The endpoint of the host's network.
    pub endpoint_id: String,
    /// Its hardware address.
    pub mac_address: String,
}

/// A change of a running machine: what `HcsModifyComputeSystem` is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Modification {
    /// What is changed.
    pub resource_path: String,
    /// How.
    pub request_type: &'static str,
    /// To what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Service>,
}

/// A system's properties: what `HcsGetComputeSystemProperties` tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SystemProperties {
    /// Under which id its sockets are reached.
    pub runtime_id: String,
}

/// How a system ended: the data of its exit notification.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SystemExit {
    /// In which way.
    #[serde(default)]
    pub exit_type: String,
}

impl SystemExit {
    /// From the data; what can't be read says nothing.
    pub fn from_json(data: &str) -> Self {
        serde_json::from_str(data).unwrap_or_default()
    }

    /// Whether its guest ended it.
    pub fn is_graceful(&self) -> bool {
        self.exit_type == "GracefulExit"
    }
}

/// A network: what `HcnCreateNetwork` is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Which schema this is.
    pub schema_version: Version,
    /// Its name.
    pub name: String,
    /// Its kind.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Its addresses.
    pub ipams: Vec<Ipam>,
}

/// Addresses of a network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    /// Who gives them.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Ranges.
    pub subnets: Vec<Subnet>,
}

/// A range of addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Subnet {
    /// The range.
    pub ip_address_prefix: String,
    /// Ways out of it.
    pub routes: Vec<NetworkRoute>,
}

/// A route.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkRoute {
    /// Through whom.
    pub next_hop: String,
    /// Where to.
    pub destination_prefix: String,
}

/// An endpoint: what `HcnCreateEndpoint` is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    /// Which schema this is.
    pub schema_version: Version,
    /// Its name.
    pub name: String,
    /// The network.
    pub host_compute_network: String,
    /// The hardware address of the adapter.
    pub mac_address: String,
    /// Ways out.
    pub routes: Vec<NetworkRoute>,
    /// Name servers.
    #[serde(skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
}

/// Name servers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dns {
    /// Their addresses.
    #[serde(default)]
    pub server_list: Vec<String>,
}

impl Dns {
    fn is_empty(&self) -> bool {
        self.server_list.is_empty()
    }
}

/// An endpoint's properties: what `HcnQueryEndpointProperties` tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointProperties {
    /// Its addresses.
    #[serde(default)]
    pub ip_configurations: Vec<IpConfiguration>,
    /// Name servers.
    #[serde(default)]
    pub dns: Dns,
}

/// An address.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpConfiguration {
    /// The address.
    #[serde(default)]
    pub ip_address: String,
}
