//! Ports of the host that the product listens on.

use crate::guest_port::port_forms;
use crate::text_form::InvalidText;
use std::fmt;
use std::str::FromStr;

/// A TCP port on the host. 0 asks for a free one at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort(u16);

impl HostPort {
    /// A free port, chosen when it is bound.
    pub const ANY: Self = Self(0);

    /// Every number is a host port.
    pub fn new(port: u16) -> Option<Self> {
        Some(Self(port))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

port_forms!(HostPort, u16, "a host port", "0 to 65535 is expected");

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn zero_means_any() {
        assert_eq!("0".parse::<HostPort>().unwrap(), HostPort::ANY);
        assert!("65536".parse::<HostPort>().is_err());
    }
}
