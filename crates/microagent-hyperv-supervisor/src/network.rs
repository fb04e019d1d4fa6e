//! The network of the guests: documents of the Host Compute Network and what its answers say. Pure.
//!
//! All workspaces of a host share one NAT network of a fixed id, so that two starts at once make one. A
//! workspace has at most one endpoint in it, whose id is the workspace's own: what a crash has left is
//! found and deleted by the next start.

use std::net::{IpAddr, Ipv4Addr};

use microagent_supervisor::backend::{GuestAddresses, GuestNic};
use microagent_types::WorkspaceId;

use crate::api::{Dns, Endpoint, EndpointProperties, Ipam, Network, NetworkRoute, Subnet, Version};

/// The network in events and reports.
pub const ENGINE: &str = "host compute network";
/// Its id: `microagent-nat` on every host.
pub const NETWORK_ID: &str = "6d616e61-7400-4d61-8a92-6d6963726f61";
const NETWORK_NAME: &str = "microagent-nat";
const PREFIX: &str = "192.168.127.0/24";
const PREFIX_LENGTH: u8 = 24;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 1);
const EVERYWHERE: &str = "0.0.0.0/0";
const MTU: u32 = 1500;
/// A guest keeps no more.
const NAME_SERVERS_MAX: usize = 3;
const SCHEMA: Version = Version { major: 2, minor: 0 };

/// Why a guest has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The service answered with no document.
    #[error("the endpoint's properties can't be read")]
    Unreadable(#[source] serde_json::Error),
    /// It has no address in our network.
    #[error("the endpoint has no address in `{PREFIX}`")]
    NoAddress,
}

/// The network.
pub fn network() -> Network {
    Network {
        schema_version: SCHEMA,
        name: NETWORK_NAME.to_owned(),
        kind: "NAT",
        ipams: vec![Ipam {
            kind: "Static",
            subnets: vec![Subnet {
                ip_address_prefix: PREFIX.to_owned(),
                routes: vec![route()],
            }],
        }],
    }
}

/// The id of a workspace's endpoint.
pub fn endpoint_id(workspace: WorkspaceId) -> String {
    workspace.to_string()
}

/// A workspace's endpoint.
pub fn endpoint(name: &str, nic: &GuestNic) -> Endpoint {
    Endpoint {
        schema_version: SCHEMA,
        name: format!("microagent-{name}"),
        host_compute_network: NETWORK_ID.to_owned(),
        mac_address: mac_text(nic.mac),
        routes: vec![route()],
        dns: Dns {
            server_list: nic.name_servers.iter().map(ToString::to_string).collect(),
        },
    }
}

/// What the guest's interface is set to, from the properties of its endpoint.
pub fn addresses(properties: &str, nic: &GuestNic) -> Result<GuestAddresses, EndpointError> {
    let found: EndpointProperties =
        serde_json::from_str(properties).map_err(EndpointError::Unreadable)?;
    let address = found
        .ip_configurations
        .iter()
        .filter_map(|configuration| configuration.ip_address.parse().ok())
        .find(|address| is_ours(*address))
        .ok_or(EndpointError::NoAddress)?;
    let told = found.dns.server_list.iter();
    let mut dns = nic.name_servers.clone();
    if dns.is_empty() {
        dns = told.filter_map(|server| server.parse().ok()).collect();
    }
    if dns.is_empty() {
        dns.push(IpAddr::V4(GATEWAY));
    }
    dns.truncate(NAME_SERVERS_MAX);
    Ok(GuestAddresses::Static {
        mtu: MTU,
        address,
        prefix_length: PREFIX_LENGTH,
        gateway: GATEWAY,
        v6: None,
        dns,
    })
}

fn is_ours(address: Ipv4Addr) -> bool {
    let host = address.octets()[3];
    address.octets()[..3] == GATEWAY.octets()[..3] && host > 1 && host < 255
}

fn route() -> NetworkRoute {
    NetworkRoute {
        next_hop: GATEWAY.to_string(),
        destination_prefix: EVERYWHERE.to_owned(),
    }
}

/// A hardware address as Windows writes it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02X}")).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use microagent_supervisor::backend::NetworkMode;

    fn nic(name_servers: &[&str]) -> GuestNic {
        GuestNic {
            mode: NetworkMode::Nat,
            mac: [2, 0x3c, 0x41, 0xe5, 0x8f, 0xc4],
            addresses: GuestAddresses::Dhcp,
            name_servers: name_servers
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            openings: Vec::new(),
        }
    }

    fn addresses_of(properties: &str, name_servers: &[&str]) -> (String, String) {
        match addresses(properties, &nic(name_servers)).unwrap() {
            GuestAddresses::Static { address, dns, .. } => {
                let dns: Vec<String> = dns.iter().map(ToString::to_string).collect();
                (address.to_string(), dns.join(" "))
            }
            GuestAddresses::Dhcp => panic!("no address was found"),
        }
    }

    #[test]
    fn network_and_endpoint_are_these_documents() {
        let documents = (network(), endpoint("web", &nic(&["9.9.9.9"])));
        insta::assert_snapshot!(serde_json::to_string_pretty(&documents).unwrap());
    }

    #[test]
    fn name_servers_are_those_of_the_user_then_of_the_host_then_the_gateway() {
        let told = r#"{"IpConfigurations":[{"IpAddress":"192.168.127.77","PrefixLength":24}],
                       "Dns":{"ServerList":["10.1.1.1","x","10.1.1.2","10.1.1.3","10.1.1.4"]}}"#;
        let address = "192.168.127.77".to_owned();
        assert_eq!(
            addresses_of(told, &["9.9.9.9"]),
            (address.clone(), "9.9.9.9".to_owned())
        );
        assert_eq!(
            addresses_of(told, &[]),
            (address.clone(), "10.1.1.1 10.1.1.2 10.1.1.3".to_owned())
        );
        let silent = r#"{"IpConfigurations":[{"IpAddress":"192.168.127.77"}]}"#;
        assert_eq!(
            addresses_of(silent, &[]),
            (address, "192.168.127.1".to_owned())
        );
    }

    #[test]
    fn an_endpoint_outside_the_network_gives_no_address() {
        for properties in [
            "{}",
            r#"{"IpConfigurations":[{"IpAddress":"10.0.0.2"}]}"#,
            r#"{"IpConfigurations":[{"IpAddress":"192.168.127.1"}]}"#,
            r#"{"IpConfigurations":[{"IpAddress":"192.168.127.255"}]}"#,
            r#"{"IpConfigurations":[{"IpAddress":"fe80::1"}]}"#,
        ] {
            let refused = addresses(properties, &nic(&[]));
            assert!(
                matches!(refused, Err(EndpointError::NoAddress)),
                "{properties}"
            );
        }
        let torn = addresses("{", &nic(&[]));
        assert!(matches!(torn, Err(EndpointError::Unreadable(_))));
    }
}
