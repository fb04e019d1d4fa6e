//! One published port: `[HOST:]HOSTPORT:GUESTPORT[/tcp]`.

use crate::text_form::{InvalidText, text_form};
use crate::{GuestPort, HostPort};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A host address and port that lead to a TCP port of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishSpec {
    /// Where the host listens; 127.0.0.1 unless told otherwise.
    pub host: IpAddr,
    /// The port there; 0 takes a free one.
    pub host_port: HostPort,
    /// The port in the guest.
    pub guest_port: GuestPort,
}

impl PublishSpec {
    /// The address used when none is given: reachable from this host only.
    pub const DEFAULT_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// What to bind.
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.host_port.get())
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let invalid = || {
            InvalidText::new(
                "a published port",
                text,
                "write [HOST:]HOSTPORT:GUESTPORT, single TCP ports only, IPv6 in brackets",
            )
        };
        let rest = text.strip_suffix("/tcp").unwrap_or(text);
        let (rest, guest) = rest.rsplit_once(':').ok_or_else(invalid)?;
        let (host, host_port) = match rest.rsplit_once(':') {
            None => (Self::DEFAULT_HOST, rest),
            Some((host, port)) => {
                let bracketed = host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'));
                let address = match bracketed {
                    Some(inner) => IpAddr::V6(inner.parse().map_err(|_| invalid())?),
                    None => IpAddr::V4(host.parse().map_err(|_| invalid())?),
                };
                (address, port)
            }
        };
        Ok(Self {
            host,
            host_port: host_port.parse().map_err(|_| invalid())?,
            guest_port: guest.parse().map_err(|_| invalid())?,
        })
    }
}

impl fmt::Display for PublishSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.socket_addr(), self.guest_port)
    }
}

text_form!(PublishSpec);

#[cfg(test)]
mod tests {
    use super::PublishSpec;

    #[test]
    fn the_host_defaults_to_loopback() {
        for (text, shown) in [
            ("8080:80", "127.0.0.1:8080:80"),
            ("8080:80/tcp", "127.0.0.1:8080:80"),
            ("0.0.0.0:0:80", "0.0.0.0:0:80"),
            ("[::1]:8080:80", "[::1]:8080:80"),
        ] {
            assert_eq!(text.parse::<PublishSpec>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn single_ports_ranges_udp_and_names_are_refused() {
        for text in [
            "8080",
            "8000-8010:80",
            "8080:80/udp",
            "localhost:1:2",
            "::1:8080:80",
            "1:0",
            ":80",
            "8080:",
        ] {
            assert!(text.parse::<PublishSpec>().is_err(), "{text}");
        }
    }
}
