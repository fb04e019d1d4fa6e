//! Which addresses and networks are this host's own, read from what the kernel tells in `/proc/net`.
//!
//! An address is the host's when a packet to it ends here. A network is local when the host reaches
//! it without a gateway: the segments that it is attached to, and tunnels. A default route is no
//! network, nor is one of the halves that some tunnels split it into. Pure: text in, lists out;
//! lines that can't be read are left out, since a kernel may grow new columns and kinds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Routes with shorter prefixes are taken for a default route or a part of it.
const PREFIX_LENGTH_V4_MIN: u32 = 8;
const PREFIX_LENGTH_V6_MIN: u32 = 16;
/// What is kept of a host with very many addresses or routes.
const ENTRIES_MAX: usize = 65536;
/// A route of `/proc/net/route` that leads to a gateway.
const FLAG_GATEWAY: u32 = 0x2;

/// The host's own addresses and the networks that it is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locality {
    own: Vec<IpAddr>,
    attached_v4: Vec<(Ipv4Addr, u32)>,
    attached_v6: Vec<(Ipv6Addr, u32)>,
}

/// The four tables as text; a missing one is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables<'a> {
    /// `/proc/net/fib_trie`.
    pub fib_trie: &'a str,
    /// `/proc/net/route`.
    pub route: &'a str,
    /// `/proc/net/if_inet6`.
    pub if_inet6: &'a str,
    /// `/proc/net/ipv6_route`.
    pub ipv6_route: &'a str,
}

impl Locality {
    /// Reads the tables.
    pub fn read(tables: Tables<'_>) -> Self {
        let mut own: Vec<IpAddr> = own_v4(tables.fib_trie).map(IpAddr::V4).collect();
        own.sort_unstable();
        // The trie tells each address once for each of its tables.
        own.dedup();
        own.extend(own_v6(tables.if_inet6).map(IpAddr::V6));
        own.truncate(ENTRIES_MAX);
        let attached_v4 = tables.route.lines().filter_map(attached_v4);
        let attached_v6 = tables.ipv6_route.lines().filter_map(attached_v6);
        Self {
            own,
            attached_v4: attached_v4.take(ENTRIES_MAX).collect(),
            attached_v6: attached_v6.take(ENTRIES_MAX).collect(),
        }
    }

    /// Whether a packet to this address ends on the host itself.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Whether the host reaches this address without a gateway.
    pub fn is_attached(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self
                .attached_v4
                .iter()
                .any(|(network, length)| holds_v4(*network, *length, address)),
            IpAddr::V6(address) => self
                .attached_v6
                .iter()
                .any(|(network, length)| holds_v6(*network, *length, address)),
        }
    }
}

/// Whether an address lies in a network.
pub(super) const fn holds_v4(network: Ipv4Addr, length: u32, address: Ipv4Addr) -> bool {
    let differs = network.to_bits() ^ address.to_bits();
    differs.leading_zeros() >= length
}

/// Likewise for IPv6.
pub(super) const fn holds_v6(network: Ipv6Addr, length: u32, address: Ipv6Addr) -> bool {
    let differs = network.to_bits() ^ address.to_bits();
    differs.leading_zeros() >= length
}

/// `|-- 192.0.2.7` followed by `/32 host LOCAL`.
fn own_v4(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    fib_trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
            return None;
        }
        leaf.filter(|_| line == "/32 host LOCAL")
    })
}

fn own_v6(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    if_inet6
        .lines()
        .filter_map(|line| hexadecimal_v6(line.split_ascii_whitespace().next()?))
}

/// Interface, destination, gateway, flags, three numbers, mask; numbers as the processor has them.
fn attached_v4(line: &str) -> Option<(Ipv4Addr, u32)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let (destination, flags, mask) = (number(1)?, number(3)?, number(7)?);
    let length = mask.count_ones();
    let is_attached = flags & FLAG_GATEWAY == 0 && length >= PREFIX_LENGTH_V4_MIN;
    is_attached.then(|| (Ipv4Addr::from(destination.to_ne_bytes()), length))
}

/// Destination, length, source, length, next hop, three numbers, flags, device.
fn attached_v6(line: &str) -> Option<(Ipv6Addr, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let destination = hexadecimal_v6(fields.next()?)?;
    let length = u32::from_str_radix(fields.next()?, 16).ok()?;
    let next_hop = hexadecimal_v6(fields.nth(2)?)?;
    let is_attached = next_hop.is_unspecified()
        && fields.last() != Some("lo")
        && (PREFIX_LENGTH_V6_MIN..=128).contains(&length);
    is_attached.then_some((destination, length))
}

fn hexadecimal_v6(digits: &str) -> Option<Ipv6Addr> {
    let bits = u128::from_str_radix(digits, 16).ok()?;
    (digits.len() == 32).then(|| Ipv6Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 203.0.113.0/24 2 0 2
        |-- 203.0.113.0
           /24 link UNICAST
        |-- 203.0.113.2
           /32 host LOCAL
        |-- 203.0.113.255
           /32 link BROADCAST
Local:
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 203.0.113.2
        /32 host LOCAL
";

    fn route(destination: [u8; 4], flags: &str, mask: [u8; 4]) -> String {
        let number = |bytes| format!("{:08X}", u32::from_ne_bytes(bytes));
        let (destination, mask) = (number(destination), number(mask));
        format!("eth0\t{destination}\t00000000\t{flags}\t0\t0\t0\t{mask}\t0\t0\t0\n")
    }

    fn route6(destination: &str, length: &str, next_hop: &str, device: &str) -> String {
        let zero = "0".repeat(32);
        let destination = format!("{destination:0<32}");
        let next_hop = format!("{next_hop:0<32}");
        format!("{destination} {length} {zero} 00 {next_hop} 400 1 0 00000001 {device}\n")
    }

    fn is_attached(locality: &Locality, address: &str) -> bool {
        locality.is_attached(address.parse().unwrap())
    }

    #[test]
    fn own_addresses_are_those_where_packets_end() {
        let if_inet6 = "20010db8000100000000000000000002 02 40 00 80 eth0\n";
        let locality = Locality::read(Tables {
            fib_trie: FIB_TRIE,
            route: "",
            if_inet6,
            ipv6_route: "",
        });
        let is_own = |address: &str| locality.is_own(address.parse().unwrap());
        assert!(is_own("203.0.113.2") && is_own("127.0.0.1") && is_own("2001:db8:1::2"));
        assert!(!is_own("203.0.113.255") && !is_own("203.0.113.3") && !is_own("2001:db8:1::3"));
        assert_eq!(locality.own.len(), 3);
    }

    #[test]
    fn a_network_without_a_gateway_is_attached_and_a_default_route_is_none() {
        let text = [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
                .to_owned(),
            route([203, 0, 113, 0], "0001", [255, 255, 255, 0]),
            route([198, 51, 100, 0], "0003", [255, 255, 255, 0]),
            route([0, 0, 0, 0], "0001", [0, 0, 0, 0]),
            route([128, 0, 0, 0], "0001", [128, 0, 0, 0]),
        ]
        .concat();
        let text6 = [
            route6("20010db80001", "40", "", "eth0"),
            route6("20010db80002", "40", "fe80", "eth0"),
            route6("20010db80003", "40", "", "lo"),
            route6("", "00", "", "eth0"),
            "strange\n".to_owned(),
        ]
        .concat();
        let locality = Locality::read(Tables {
            fib_trie: "",
            route: &text,
            if_inet6: "",
            ipv6_route: &text6,
        });
        assert!(is_attached(&locality, "203.0.113.77"));
        assert!(!is_attached(&locality, "198.51.100.1"));
        assert!(!is_attached(&locality, "200.1.2.3"));
        assert!(is_attached(&locality, "2001:db8:1::77"));
        assert!(!is_attached(&locality, "2001:db8:2::1"));
        assert!(!is_attached(&locality, "2001:db8:3::1"));
        assert!(!is_attached(&locality, "2600::1"));
    }
}
