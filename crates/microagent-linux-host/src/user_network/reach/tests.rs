use super::*;
use crate::user_network::locality::Tables;

const UDP: u8 = PROTOCOL_UDP;
const TCP: u8 = PROTOCOL_TCP;

/// A host at 203.0.113.2/24 and 2001:db8:1::2/64.
fn host() -> Locality {
    let number = |bytes| format!("{:08X}", u32::from_ne_bytes(bytes));
    let (network, mask) = (number([203, 0, 113, 0]), number([255, 255, 255, 0]));
    let zero = "0".repeat(32);
    Locality::read(Tables {
        fib_trie: "|-- 203.0.113.2\n/32 host LOCAL\n",
        route: &format!("eth0 {network} 00000000 0001 0 0 0 {mask} 0 0 0\n"),
        if_inet6: "20010db8000100000000000000000002 02 40 00 80 eth0\n",
        ipv6_route: &format!(
            "20010db8000100000000000000000000 40 {zero} 00 {zero} 100 1 0 1 eth0\n"
        ),
    })
}

fn reach(openings: &[Opening]) -> Reach {
    Reach {
        locality: host(),
        openings: openings.to_vec(),
        name_servers: Vec::new(),
        dns_over_tcp: false,
    }
}

fn frame(to: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    let mut segment = [0, 99].to_vec();
    segment.extend(port.to_be_bytes());
    segment.extend([0; 16]);
    let mut frame = vec![2; 12];
    match to {
        IpAddr::V4(to) => {
            frame.extend(TYPE_IPV4);
            let mut header = [0; IPV4_BYTES_MIN];
            (header[0], header[9]) = (0x45, protocol);
            header[16..].copy_from_slice(&to.octets());
            frame.extend(header);
        }
        IpAddr::V6(to) => {
            frame.extend(TYPE_IPV6);
            let mut header = [0; IPV6_BYTES];
            (header[0], header[6]) = (0x60, protocol);
            header[24..].copy_from_slice(&to.octets());
            frame.extend(header);
        }
    }
    frame.extend(segment);
    frame
}

fn admitted(reach: &Reach, to: &str, protocol: u8, port: u16) -> bool {
    reach.admits(&frame(to.parse().unwrap(), protocol, port))
}

const INTERNET: [&str; 5] = [
    "198.51.100.10",
    "1.1.1.1",
    "2001:db8:2::10",
    "64:ff9b::198.51.100.10",
    "2002:c633:640a::1",
];
/// The host, by every name that a socket of the host would understand.
const HOST: [&str; 14] = [
    "127.0.0.1",
    "127.3.2.1",
    "0.0.0.0",
    "0.0.0.1",
    "203.0.113.2",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "2001:db8:1::2",
    "fe80::1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::203.0.113.2",
    "2002:7f00:1::1",
];
const LOCAL: [&str; 12] = [
    "203.0.113.1",
    "10.77.0.2",
    "10.0.2.77",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "fd12::1",
    "2001:db8:1::1",
    "64:ff9b::192.168.1.1",
    "2002:c0a8:101::1",
];
/// Segment-wide, many at once, clouds' own services.
const NEVER: [&str; 6] = [
    "169.254.169.254",
    "224.0.0.251",
    "255.255.255.255",
    "192.0.0.8",
    "ff02::fb",
    "240.0.0.1",
];

#[test]
fn the_internet_is_reached_and_nothing_near() {
    let reach = reach(&[]);
    for protocol in [TCP, UDP, 1, PROTOCOL_ICMPV6] {
        for address in INTERNET {
            assert!(admitted(&reach, address, protocol, 80), "{address}");
        }
        for address in HOST.into_iter().chain(LOCAL).chain(NEVER) {
            assert!(!admitted(&reach, address, protocol, 80), "{address}");
            assert!(!admitted(&reach, address, protocol, 53), "{address}");
        }
    }
    assert!(admitted(&reach, "172.32.0.1", TCP, 80));
    assert!(admitted(&reach, "100.128.0.1", TCP, 80));
}

#[test]
fn the_name_server_is_reached_for_names_only() {
    let mut reach = reach(&[]);
    assert!(admitted(&reach, "10.0.2.3", UDP, 53));
    assert!(!admitted(&reach, "10.0.2.3", UDP, 54));
    assert!(!admitted(&reach, "10.0.2.3", TCP, 53));
    reach.dns_over_tcp = true;
    assert!(admitted(&reach, "10.0.2.3", TCP, 53));
    assert!(!admitted(&reach, "10.0.2.3", TCP, 80));
    let mut later_piece = frame("10.0.2.3".parse().unwrap(), UDP, 53);
    later_piece[ETHERNET_BYTES + 7] = 1;
    assert!(!reach.admits(&later_piece));
}

#[test]
fn a_name_server_that_was_named_is_reached_wherever_it_is_but_not_on_the_host() {
    let mut reach = reach(&[]);
    reach.name_servers = ["10.77.0.2", "203.0.113.2", "127.0.0.1", "fd12::1"]
        .map(|address| address.parse().unwrap())
        .to_vec();
    for protocol in [TCP, UDP] {
        assert!(admitted(&reach, "10.77.0.2", protocol, 53));
        assert!(admitted(&reach, "fd12::1", protocol, 53));
        assert!(!admitted(&reach, "10.77.0.2", protocol, 80));
        assert!(!admitted(&reach, "127.0.0.1", protocol, 53));
        assert!(!admitted(&reach, "203.0.113.2", protocol, 53));
    }
}

#[test]
fn an_opening_opens_that_and_nothing_else() {
    let gateways = ["10.0.2.2", "fd00:6d61::2"];
    let loopback = reach(&[Opening::Loopback]);
    let local = reach(&[Opening::Local]);
    for address in gateways {
        assert!(admitted(&loopback, address, TCP, 80), "{address}");
        assert!(!admitted(&local, address, TCP, 80), "{address}");
        assert!(!admitted(&reach(&[]), address, TCP, 80), "{address}");
    }
    for address in LOCAL {
        assert!(!admitted(&loopback, address, TCP, 80), "{address}");
        assert!(admitted(&local, address, TCP, 80), "{address}");
    }
    for address in HOST.into_iter().chain(NEVER) {
        assert!(!admitted(&loopback, address, TCP, 80), "{address}");
        assert!(!admitted(&local, address, TCP, 80), "{address}");
    }
}

#[test]
fn neighbours_are_found_and_unknown_frames_go_nowhere() {
    let reach = reach(&[]);
    let arp = [&[2; 12][..], &TYPE_ARP, &[0; 28]].concat();
    assert!(reach.admits(&arp));
    let mut solicitation = frame("ff02::1:ff00:2".parse().unwrap(), PROTOCOL_ICMPV6, 0);
    solicitation[ETHERNET_BYTES + IPV6_BYTES] = 135;
    assert!(reach.admits(&solicitation));
    solicitation[ETHERNET_BYTES + IPV6_BYTES] = 128;
    assert!(!reach.admits(&solicitation));
    let whole = frame("1.1.1.1".parse().unwrap(), TCP, 80);
    let tagged = [&whole[..12], &[0x81, 0, 0, 1], &whole[12..]].concat();
    assert!(!reach.admits(&tagged));
    for length in 0..ETHERNET_BYTES + IPV4_BYTES_MIN {
        assert!(!reach.admits(&whole[..length]), "{length}");
    }
    let mut strange = whole.clone();
    strange[ETHERNET_BYTES] = 0x44;
    assert!(!reach.admits(&strange), "a header that is too short");
    strange[ETHERNET_BYTES] = 0x65;
    assert!(!reach.admits(&strange), "another version");
}
