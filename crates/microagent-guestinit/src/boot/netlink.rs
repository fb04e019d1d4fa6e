//! The few requests to the kernel's network that guest init makes, as bytes. Pure.

use std::net::IpAddr;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// A request, to be answered.
const REQUEST_ACK: u16 = 0x1 | 0x4;
/// What is not there is made, what is there is replaced. A link takes neither word.
const CREATE_REPLACE: u16 = 0x400 | 0x100;
const ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => FAMILY_IPV4,
        IpAddr::V6(_) => FAMILY_IPV6,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// One request under construction.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, body: &[u8]) -> Self {
        let flags = match kind {
            NEW_LINK => REQUEST_ACK,
            _ => REQUEST_ACK | CREATE_REPLACE,
        };
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self { bytes }
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(0);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// Brings an interface up, with a largest packet if one is given.
pub(super) fn link_up(index: u32, mtu: Option<u32>) -> Vec<u8> {
    const UP: u32 = 1;
    const MTU: u16 = 4;
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&UP.to_ne_bytes());
    body[12..16].copy_from_slice(&UP.to_ne_bytes());
    let request = Request::new(NEW_LINK, &body);
    match mtu {
        Some(mtu) => request.with(MTU, &mtu.to_ne_bytes()).finish(),
        None => request.finish(),
    }
}

/// Gives an interface an address. An IPv6 one is used at once: nobody else is on this network.
pub(super) fn address(index: u32, address: IpAddr, prefix_length: u8) -> Vec<u8> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    const NO_DUPLICATE_DETECTION: u8 = 2;
    let flags = if address.is_ipv6() {
        NO_DUPLICATE_DETECTION
    } else {
        0
    };
    let mut body = vec![family(address), prefix_length, flags, 0];
    body.extend(index.to_ne_bytes());
    let octets = octets(address);
    Request::new(NEW_ADDRESS, &body)
        .with(LOCAL, &octets)
        .with(ADDRESS, &octets)
        .finish()
}

/// The way to everywhere else.
pub(super) fn default_route(index: u32, gateway: IpAddr) -> Vec<u8> {
    const GATEWAY: u16 = 5;
    const OUT_INTERFACE: u16 = 4;
    const TABLE_MAIN: u8 = 254;
    const PROTOCOL_BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    let body = [
        family(gateway),
        0,
        0,
        0,
        TABLE_MAIN,
        PROTOCOL_BOOT,
        0,
        UNICAST,
        0,
        0,
        0,
        0,
    ];
    Request::new(NEW_ROUTE, &body)
        .with(GATEWAY, &octets(gateway))
        .with(OUT_INTERFACE, &index.to_ne_bytes())
        .finish()
}

/// What the kernel answered: `Ok` or its error number; `None` for something else.
pub(super) fn acknowledgement(bytes: &[u8]) -> Option<Result<(), i32>> {
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(bytes.get(HEADER_BYTES..HEADER_BYTES + 4)?.try_into().ok()?);
    match (kind, code) {
        (ERROR, 0) => Some(Ok(())),
        (ERROR, code) => Some(Err(code.saturating_neg())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{acknowledgement, address, default_route, link_up};

    fn lengths_hold(message: &[u8], body: usize) {
        let total = u32::from_ne_bytes(message[..4].try_into().unwrap());
        assert_eq!(total as usize, message.len());
        let mut rest = &message[16 + body..];
        while !rest.is_empty() {
            let length = usize::from(u16::from_ne_bytes(rest[..2].try_into().unwrap()));
            assert!(length >= 4);
            rest = &rest[length.next_multiple_of(4)..];
        }
    }

    #[test]
    fn every_length_says_what_follows() {
        lengths_hold(&link_up(2, Some(65_520)), 16);
        lengths_hold(&link_up(1, None), 16);
        lengths_hold(&address(2, "10.0.2.15".parse().unwrap(), 24), 8);
        lengths_hold(&address(2, "fd00:6d61::15".parse().unwrap(), 64), 8);
        lengths_hold(&default_route(2, "10.0.2.2".parse().unwrap()), 12);
        lengths_hold(&default_route(2, "fd00:6d61::2".parse().unwrap()), 12);
    }

    #[test]
    fn an_answer_is_success_or_a_number() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; 4];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            acknowledgement(&bytes)
        };
        assert_eq!(answer(2, 0), Some(Ok(())));
        assert_eq!(answer(2, -17), Some(Err(17)));
        assert_eq!(answer(16, 0), None);
        assert_eq!(acknowledgement(&[0; 19]), None);
    }
}
