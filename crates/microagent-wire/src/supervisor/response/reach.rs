//! What a workspace reaches and what reaches it: network, published ports, mediation, readiness.
//!
//! Each object tells what was declared beside what is so now.

use crate::supervisor::spec::NetworkMode;
use microagent_types::{GuestPort, HostPort, MediationPort, MediationTarget, Opening};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The network of a workspace: what is declared and what is so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    /// Its kind.
    pub mode: NetworkMode,
    /// The program behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The guest's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The guest's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceView>,
    /// What near the host was opened to the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reach: Vec<Opening>,
    /// Cut by quarantine.
    pub severed: bool,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Published ports.
    #[serde(default)]
    pub publish: Vec<PublishView>,
    /// What has crossed in this boot; absent when no monitor counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

/// Bytes that have crossed between a guest and everything else: frames of its network, published ports,
/// the mediation channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// To the guest.
    pub bytes_in: u64,
    /// From the guest.
    pub bytes_out: u64,
}

/// The guest's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceView {
    /// Hardware address.
    pub mac: String,
    /// IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
    /// IPv4 gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<String>,
    /// IPv6 gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<String>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishView {
    /// Where the host listens.
    pub host: IpAddr,
    /// The real port there.
    pub host_port: HostPort,
    /// The port in the guest.
    pub guest_port: GuestPort,
    /// Always `tcp`.
    pub protocol: String,
    /// Whether it listens now.
    pub listening: bool,
    /// Open connections.
    pub open_connections: u64,
    /// All connections of this boot.
    pub total_connections: u64,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The mediation channel: what is declared and what is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediationView {
    /// The vsock port.
    pub port: MediationPort,
    /// Where it leads.
    pub target: MediationTarget,
    /// Whether a start needs it.
    pub required: bool,
    /// Whether the target accepts.
    pub ready: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Open connections.
    pub open_connections: u64,
    /// All connections of this boot.
    pub total_connections: u64,
    /// Refused ones.
    pub refused_connections: u64,
    /// Guest to host.
    pub bytes_in: u64,
    /// Host to guest.
    pub bytes_out: u64,
}

/// What is ready, pushed and never guessed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Readiness {
    /// The guest said so in this boot and its heart beats.
    pub guest_ready: bool,
    /// Commands can run.
    pub exec_ready: bool,
    /// The mediation target accepts; absent without a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediation_ready: Option<bool>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediation_error: Option<String>,
}
