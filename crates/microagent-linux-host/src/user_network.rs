//! The guest's network for a user without rights: `passt` between the guest's frames and the host's
//! sockets.
//!
//! Every workspace has a network of its own with the same addresses, so nothing clashes and nothing
//! has to be handed out. The trouble to keep away is the host's loopback, where control planes
//! listen: no address of the guest's network may lead there. What a guest may name at all is said in
//! [`mod@reach`]; what `passt` itself maps to the host depends on what this `passt` knows. Pure but for
//! [`observe`], [`socket_pair`], [`relay`] and [`wire`].

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use microagent_supervisor::backend::GuestAddresses;
use microagent_types::Opening;

#[cfg(target_os = "linux")]
mod carrying;
pub mod frame;
#[cfg(target_os = "linux")]
mod linux;
pub mod locality;
pub mod reach;
#[cfg(target_os = "linux")]
pub mod relay;
#[cfg(target_os = "linux")]
mod traffic;
#[cfg(target_os = "linux")]
pub mod wire;
#[cfg(target_os = "linux")]
pub use linux::{host_has_ipv6_route, observe, reach, socket_pair};

/// The program.
pub const PASST: &str = "passt";
/// The number under which it gets its socket.
pub const PASST_SOCKET: i32 = 3;

/// The tap in the network of a VMM that knows only taps.
pub const TAP: &std::ffi::CStr = c"tap0";

/// The guest.
pub const GUEST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The length of its prefix.
pub const PREFIX_LENGTH_V4: u8 = 24;
/// Its gateway.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Where the host's own name server is reached.
pub const DNS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The guest, when the host has IPv6.
pub const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x6d61, 0, 0, 0, 0, 0, 0x15);
/// The length of its prefix.
pub const PREFIX_LENGTH_V6: u8 = 64;
/// Its gateway.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x6d61, 0, 0, 0, 0, 0, 0x2);
/// The largest packet.
pub const MTU: u32 = 65520;

/// What this `passt` knows, from its help text, since its builds don't all tell a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PasstFeatures {
    /// It may map an address of the guest's network to the host's loopback and must be told not to.
    pub map_host_loopback: bool,
    /// Likewise to the host's own address.
    pub map_guest_addr: bool,
}

/// Reads the help text.
pub fn features_in(help: &str) -> PasstFeatures {
    let knows = |option: &str| {
        help.split(|character: char| character.is_whitespace() || character == ',')
            .any(|word| word == option)
    };
    PasstFeatures {
        map_host_loopback: knows("--map-host-loopback"),
        map_guest_addr: knows("--map-guest-addr"),
    }
}

/// Looks for the names of the options among the bytes of the program, where each ends with a zero.
pub fn features_in_program(program: &[u8]) -> PasstFeatures {
    let knows = |option: &[u8]| program.windows(option.len()).any(|found| found == option);
    PasstFeatures {
        map_host_loopback: knows(b"map-host-loopback\0"),
        map_guest_addr: knows(b"map-guest-addr\0"),
    }
}

/// What the guest is told. Name servers that the user named take the place of the host's.
pub fn guest_addresses(dns: &[IpAddr], host_has_ipv6: bool) -> GuestAddresses {
    GuestAddresses::Static {
        mtu: MTU,
        address: GUEST_V4,
        prefix_length: PREFIX_LENGTH_V4,
        gateway: GATEWAY_V4,
        v6: host_has_ipv6.then_some((GUEST_V6, PREFIX_LENGTH_V6, GATEWAY_V6)),
        dns: if dns.is_empty() {
            vec![IpAddr::V4(DNS_V4)]
        } else {
            dns.to_vec()
        },
    }
}

/// The command line. `with_v6` follows the addresses that the guest was told.
pub fn arguments(with_v6: bool, features: PasstFeatures, openings: &[Opening]) -> Vec<OsString> {
    let mut words: Vec<String> = ["--foreground", "--quiet", "--fd"]
        .map(str::to_owned)
        .into();
    words.push(PASST_SOCKET.to_string());
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    option("-a", GUEST_V4.to_string());
    option("-n", PREFIX_LENGTH_V4.to_string());
    option("-g", GATEWAY_V4.to_string());
    if with_v6 {
        option("-a", GUEST_V6.to_string());
        option("-g", GATEWAY_V6.to_string());
    }
    option("--dns-forward", DNS_V4.to_string());
    option("-m", MTU.to_string());
    let opens_loopback = openings.contains(&Opening::Loopback);
    match (features.map_host_loopback, opens_loopback) {
        (true, true) => {
            option("--map-host-loopback", GATEWAY_V4.to_string());
            if with_v6 {
                option("--map-host-loopback", GATEWAY_V6.to_string());
            }
        }
        (true, false) => option("--map-host-loopback", "none".to_owned()),
        // An older one maps the gateway, or nothing when told below.
        (false, _) => {}
    }
    if features.map_guest_addr {
        option("--map-guest-addr", "none".to_owned());
    }
    option("-t", "none".to_owned());
    option("-u", "none".to_owned());
    if !opens_loopback {
        words.push("--no-map-gw".to_owned());
    }
    words.extend(["--no-dhcp", "--no-dhcpv6", "--no-ra"].map(str::to_owned));
    if !with_v6 {
        words.push("-4".to_owned());
    }
    words.into_iter().map(OsString::from).collect()
}

/// Whether the text of `/proc/net/ipv6_route` has a default route that leads somewhere.
pub fn default_route_in(ipv6_route: &str) -> bool {
    ipv6_route.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let destination = fields.next().unwrap_or_default();
        let prefix_length = fields.next().unwrap_or_default();
        let device = fields.last().unwrap_or_default();
        let is_default = destination.len() == 32
            && destination.bytes().all(|byte| byte == b'0')
            && prefix_length == "00";
        is_default && device != "lo"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(with_v6: bool, features: PasstFeatures) -> String {
        line_with(with_v6, features, &[])
    }

    fn line_with(with_v6: bool, features: PasstFeatures, openings: &[Opening]) -> String {
        arguments(with_v6, features, openings)
            .iter()
            .map(|word| word.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn an_old_passt_is_told_what_it_knows() {
        assert_eq!(
            line(
                false,
                features_in("  --no-map-gw\tDon't map gateway address to host")
            ),
            "--foreground --quiet --fd 3 -a 10.0.2.15 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 \
             -m 65520 -t none -u none --no-map-gw --no-dhcp --no-dhcpv6 --no-ra -4"
        );
    }

    #[test]
    fn a_newer_one_is_told_to_map_nothing_to_the_host() {
        let help = "  --map-host-loopback ADDR\tTranslate\n  --map-guest-addr ADDR\tTranslate\n";
        assert_eq!(
            line(true, features_in(help)),
            "--foreground --quiet --fd 3 -a 10.0.2.15 -n 24 -g 10.0.2.2 -a fd00:6d61::15 \
             -g fd00:6d61::2 --dns-forward 10.0.2.3 -m 65520 --map-host-loopback none \
             --map-guest-addr none -t none -u none --no-map-gw --no-dhcp --no-dhcpv6 --no-ra"
        );
    }

    #[test]
    fn the_gateway_leads_to_the_hosts_loopback_only_when_that_is_opened() {
        let old = line_with(false, PasstFeatures::default(), &[Opening::Loopback]);
        assert!(!old.contains("--no-map-gw"), "{old}");
        let new = PasstFeatures {
            map_host_loopback: true,
            map_guest_addr: true,
        };
        let new = line_with(true, new, &[Opening::Loopback, Opening::Local]);
        assert!(
            new.contains("--map-host-loopback 10.0.2.2 --map-host-loopback fd00:6d61::2 "),
            "{new}"
        );
        assert!(new.contains("--map-guest-addr none"), "{new}");
        let local = line_with(false, PasstFeatures::default(), &[Opening::Local]);
        assert!(local.contains("--no-map-gw"), "{local}");
    }

    #[test]
    fn the_program_s_own_bytes_tell_the_same_as_its_help() {
        let with = b"\x7fELF..map-gw\0map-host-loopback\0map-guest-addr\0";
        assert_eq!(
            features_in_program(with),
            PasstFeatures {
                map_host_loopback: true,
                map_guest_addr: true,
            }
        );
        // A text that names the option is not the table that knows it.
        let without = b"\x7fELF..use --map-host-loopback instead\0no-map-gw\0";
        assert_eq!(features_in_program(without), PasstFeatures::default());
    }

    #[test]
    fn a_default_route_over_loopback_is_none() {
        let zero = "0".repeat(32);
        let lo = format!("{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n");
        let eth = format!(
            "{zero} 00 {zero} 00 fe80{} 00000400 1 0 00000003 eth0\n",
            "0".repeat(28)
        );
        let net = format!(
            "fe80{} 40 {zero} 00 {zero} 100 1 0 1 eth0\n",
            "0".repeat(28)
        );
        assert!(!default_route_in(&lo));
        assert!(!default_route_in(&net));
        assert!(!default_route_in(""));
        assert!(default_route_in(&format!("{lo}{net}{eth}")));
    }

    #[test]
    fn named_servers_take_the_place_of_the_hosts() {
        let own: IpAddr = "9.9.9.9".parse().unwrap();
        let GuestAddresses::Static { dns, v6, .. } = guest_addresses(&[own], true) else {
            unreachable!("addresses are told");
        };
        assert_eq!(dns, [own]);
        assert!(v6.is_some());
    }
}
