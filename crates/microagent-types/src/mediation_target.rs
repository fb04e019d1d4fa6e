//! Where a mediation channel leads on the host.

use crate::text_form::{InvalidText, text_form};
use std::fmt;

/// The host side of a mediation channel: `HOST:PORT` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MediationTarget {
    /// A TCP service; the name is resolved anew at each dial.
    Tcp {
        /// A host name or an address, IPv6 without its brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A Unix socket by absolute path, at most 107 bytes (`sun_path` less its terminator).
    Unix {
        /// The path.
        path: String,
    },
}

const UNIX_PATH_BYTES_MAX: usize = 107;
const HOST_BYTES_MAX: usize = 253;

impl MediationTarget {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let invalid =
            || InvalidText::new("a mediation target", text, "write HOST:PORT or unix:/path");
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.len() <= UNIX_PATH_BYTES_MAX && !path.contains('\0');
            return if path.starts_with('/') && fits {
                Ok(Self::Unix {
                    path: path.to_owned(),
                })
            } else {
                Err(invalid())
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port
            .parse::<crate::GuestPort>()
            .map_err(|_| invalid())?
            .get();
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or_else(invalid)?;
                inner.parse::<std::net::Ipv6Addr>().map_err(|_| invalid())?;
                inner
            }
            None => {
                let plain = host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
                if host.is_empty() || host.len() > HOST_BYTES_MAX || !plain {
                    return Err(invalid());
                }
                host
            }
        };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for MediationTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix { path } => write!(formatter, "unix:{path}"),
        }
    }
}

text_form!(MediationTarget);

#[cfg(test)]
mod tests {
    use super::MediationTarget;

    #[test]
    fn both_forms_read_back() {
        for text in [
            "127.0.0.1:9900",
            "control.internal:443",
            "[::1]:9900",
            "unix:/run/control.sock",
        ] {
            assert_eq!(text.parse::<MediationTarget>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn half_forms_are_refused() {
        for text in [
            "9900",
            ":9900",
            "host:0",
            "unix:run.sock",
            "::1:9900",
            "[::1]",
            "a b:1",
            "unix:",
        ] {
            assert!(text.parse::<MediationTarget>().is_err(), "{text}");
        }
        assert!(
            format!("unix:/{}", "x".repeat(106))
                .parse::<MediationTarget>()
                .is_ok()
        );
        assert!(
            format!("unix:/{}", "x".repeat(107))
                .parse::<MediationTarget>()
                .is_err()
        );
    }
}
