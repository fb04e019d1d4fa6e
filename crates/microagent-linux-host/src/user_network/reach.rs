//! What a guest's frames may be addressed to.
//!
//! `passt` opens a socket of the host for whatever address a frame names. So a guest that makes its
//! own frames could name 127.0.0.1, 0.0.0.0 or `::ffff:127.0.0.1` and talk to what listens on the
//! host's loopback, whatever `passt` was told about its gateway; and an address of the local network
//! leads there as it would for any program of the host. Therefore nothing gets to `passt` that this
//! file does not admit: the internet, the name server, and what was opened on purpose. Pure; a
//! decision for each frame, from its destination alone.
//!
//! It is a filter of destinations and not of senders or contents: what comes back is what `passt`
//! has a socket for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use microagent_types::Opening;

use super::locality::{Locality, holds_v4, holds_v6};
use super::{DNS_V4, GATEWAY_V4, GATEWAY_V6};

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES_MIN: usize = 20;
const IPV6_BYTES: usize = 40;
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
/// Router and neighbour solicitations and advertisements, which never leave the wire.
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=136;
/// More fragments, and the offset of one.
const FRAGMENT: u16 = 0x3fff;
const PORT_DNS: u16 = 53;

/// IPv4 networks that lead to the host itself or to its segment, to many or to nobody: never opened.
const NEVER_V4: [(Ipv4Addr, u32); 6] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Networks that are somebody's own by agreement.
const PRIVATE_V4: [(Ipv4Addr, u32); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];
const PRIVATE_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
/// All that IPv6 calls global; the rest is loopback, link-local, multicast, mapped or unassigned.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Addresses that hold an IPv4 address, and where: NAT64 and 6to4.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// Over what a frame wants to talk, as far as an exception needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// To a name server's port over UDP.
    DnsOverUdp,
    /// Likewise over TCP.
    DnsOverTcp,
    /// Anything else.
    Other,
}

/// What the guest of one VM may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What is the host's and near it.
    pub locality: Locality,
    /// What was opened on purpose.
    pub openings: Vec<Opening>,
    /// Name servers that the user named: reached wherever they are, for that and nothing else.
    pub name_servers: Vec<IpAddr>,
    /// Whether `passt` takes TCP to the forwarded name server for what it is.
    pub dns_over_tcp: bool,
}

impl Reach {
    /// Whether `passt` may get this frame. What is no frame, or of a kind that it does not know, it
    /// does not get.
    pub fn admits(&self, frame: &[u8]) -> bool {
        let Some((header, packet)) = frame.split_at_checked(ETHERNET_BYTES) else {
            return false;
        };
        match [header[12], header[13]] {
            TYPE_ARP => true,
            TYPE_IPV4 => self.admits_ipv4(packet),
            TYPE_IPV6 => self.admits_ipv6(packet),
            _ => false,
        }
    }

    fn admits_ipv4(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.first_chunk::<IPV4_BYTES_MIN>() else {
            return false;
        };
        let header_bytes = usize::from(header[0] & 0xf) * 4;
        if header[0] >> 4 != 4 || header_bytes < IPV4_BYTES_MIN {
            return false;
        }
        let is_fragment = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT != 0;
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        let talk = if is_fragment {
            Talk::Other
        } else {
            talk(header[9], packet.get(header_bytes..).unwrap_or_default())
        };
        self.is_reachable_v4(destination, talk)
    }

    fn admits_ipv6(&self, packet: &[u8]) -> bool {
        let Some((header, rest)) = packet.split_first_chunk::<IPV6_BYTES>() else {
            return false;
        };
        if header[0] >> 4 != 6 {
            return false;
        }
        let next = header[6];
        let is_discovery = next == PROTOCOL_ICMPV6
            && rest
                .first()
                .is_some_and(|kind| NEIGHBOUR_DISCOVERY.contains(kind));
        let destination: [u8; 16] = header[24..40].try_into().expect("16 of 40 bytes");
        is_discovery || self.is_reachable_v6(destination.into(), talk(next, rest))
    }

    fn is_reachable_v4(&self, address: Ipv4Addr, talk: Talk) -> bool {
        if address == DNS_V4 {
            return talk == Talk::DnsOverUdp || (talk == Talk::DnsOverTcp && self.dns_over_tcp);
        }
        if address == GATEWAY_V4 {
            return self.opens(Opening::Loopback);
        }
        let never = NEVER_V4
            .iter()
            .any(|(network, length)| holds_v4(*network, *length, address));
        let private = PRIVATE_V4
            .iter()
            .any(|(network, length)| holds_v4(*network, *length, address));
        self.judge(address.into(), never, private, talk)
    }

    fn is_reachable_v6(&self, address: Ipv6Addr, talk: Talk) -> bool {
        if address == GATEWAY_V6 {
            return self.opens(Opening::Loopback);
        }
        let octets = address.octets();
        let held_at = |start: usize| {
            let held: [u8; 4] = octets[start..start + 4].try_into().expect("4 of 16 bytes");
            Ipv4Addr::from(held)
        };
        if holds_v6(NAT64.0, NAT64.1, address) {
            return self.is_reachable_v4(held_at(12), Talk::Other);
        }
        if holds_v6(SIX_TO_FOUR.0, SIX_TO_FOUR.1, address) {
            return self.is_reachable_v4(held_at(2), Talk::Other);
        }
        let private = holds_v6(PRIVATE_V6.0, PRIVATE_V6.1, address);
        let never = !private && !holds_v6(GLOBAL_V6.0, GLOBAL_V6.1, address);
        self.judge(address.into(), never, private, talk)
    }

    fn judge(&self, address: IpAddr, never: bool, private: bool, talk: Talk) -> bool {
        if never || self.locality.is_own(address) {
            return false;
        }
        let is_named = talk != Talk::Other && self.name_servers.contains(&address);
        let is_local = private || self.locality.is_attached(address);
        is_named || !is_local || self.opens(Opening::Local)
    }

    fn opens(&self, opening: Opening) -> bool {
        self.openings.contains(&opening)
    }
}

fn talk(protocol: u8, segment: &[u8]) -> Talk {
    let is_dns = segment
        .first_chunk::<4>()
        .is_some_and(|ports| u16::from_be_bytes([ports[2], ports[3]]) == PORT_DNS);
    match protocol {
        PROTOCOL_UDP if is_dns => Talk::DnsOverUdp,
        PROTOCOL_TCP if is_dns => Talk::DnsOverTcp,
        _ => Talk::Other,
    }
}

#[cfg(test)]
mod tests;
