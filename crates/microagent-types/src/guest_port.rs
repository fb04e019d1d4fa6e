//! Ports inside the guest: of TCP and of vsock, which are different numbers.

use crate::text_form::InvalidText;
use std::fmt;
use std::str::FromStr;

/// A TCP port that something in the guest listens on: 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestPort(u16);

impl GuestPort {
    /// `None` for 0.
    pub fn new(port: u16) -> Option<Self> {
        (port != 0).then_some(Self(port))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A vsock port, any 32-bit number but the wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VsockPort(u32);

impl VsockPort {
    /// Where the guest dials the host for its control connection.
    pub const CONTROL: Self = Self(1024);
    /// Where the guest listens for services.
    pub const SERVICE: Self = Self(1025);

    /// `None` for `VMADDR_PORT_ANY` (linux/vm_sockets.h).
    pub fn new(port: u32) -> Option<Self> {
        (port != u32::MAX).then_some(Self(port))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A vsock port that a mediation channel may use: 1026 to 4294967294; below are the product's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediationPort(VsockPort);

impl MediationPort {
    /// Lowest port that is not the product's own.
    pub const MIN: u32 = 1026;

    /// `None` for the product's own ports and the wildcard.
    pub fn new(port: u32) -> Option<Self> {
        VsockPort::new(port)
            .filter(|port| port.get() >= Self::MIN)
            .map(Self)
    }

    /// The vsock port.
    pub const fn vsock_port(self) -> VsockPort {
        self.0
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// Text and JSON forms of a port that is a plain integer in JSON.
macro_rules! port_forms {
    ($type:ty, $int:ty, $what:literal, $expected:literal) => {
        impl FromStr for $type {
            type Err = InvalidText;
            fn from_str(text: &str) -> Result<Self, InvalidText> {
                text.bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| text.parse::<$int>().ok().and_then(Self::new))
                    .flatten()
                    .ok_or_else(|| InvalidText::new($what, text, $expected))
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.get(), formatter)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(u64::from(self.get()))
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u64::deserialize(deserializer)?;
                <$int>::try_from(number)
                    .ok()
                    .and_then(Self::new)
                    .ok_or_else(|| {
                        serde::de::Error::custom(InvalidText::new(
                            $what,
                            &number.to_string(),
                            $expected,
                        ))
                    })
            }
        }
    };
}

pub(crate) use port_forms;

port_forms!(GuestPort, u16, "a guest port", "1 to 65535 is expected");
port_forms!(
    VsockPort,
    u32,
    "a vsock port",
    "0 to 4294967294 is expected"
);
port_forms!(
    MediationPort,
    u32,
    "a mediation port",
    "1026 to 4294967294 is expected"
);

#[cfg(test)]
mod tests {
    use super::{GuestPort, MediationPort};

    #[test]
    fn the_products_own_vsock_ports_are_refused_for_mediation() {
        assert!("1025".parse::<MediationPort>().is_err());
        assert_eq!("1026".parse::<MediationPort>().unwrap().get(), 1026);
        assert!("4294967294".parse::<MediationPort>().is_ok());
        assert!("4294967295".parse::<MediationPort>().is_err());
    }

    #[test]
    fn a_guest_port_is_not_zero() {
        assert!("0".parse::<GuestPort>().is_err());
        assert!("+80".parse::<GuestPort>().is_err());
        assert!("".parse::<GuestPort>().is_err());
        assert_eq!(serde_json::from_str::<GuestPort>("80").unwrap().get(), 80);
        assert!(serde_json::from_str::<GuestPort>("65536").is_err());
    }
}
