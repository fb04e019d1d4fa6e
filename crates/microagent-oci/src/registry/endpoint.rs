//! Which address a registry has, and where it may send us. Pure.
//!
//! ```text
//! registry            https        plain http            certificate
//! any                 yes          never                 must be trusted
//! loopback            tried first  when https is not     must be trusted
//! named as insecure   tried first  when https is not     need not be trusted
//! ```

use microagent_types::RegistryHost;
use reqwest::Url;

/// The host that answers for `docker.io`.
const DOCKER_HOST: &str = "registry-1.docker.io";
const DOCKER: &str = "docker.io";

/// What a user allows.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    insecure: Vec<RegistryHost>,
}

/// Which of the HTTP clients may speak to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Certificates are checked; proxies are used.
    Checked,
    /// Certificates are checked; it is on this host, so no proxy is asked.
    Loopback,
    /// Certificates are not checked.
    Unchecked,
}

impl Policy {
    pub(crate) fn new(insecure: Vec<RegistryHost>) -> Self {
        Self { insecure }
    }

    /// The addresses to try for a registry, best first.
    pub(crate) fn addresses(&self, registry: &str) -> Vec<Url> {
        let host = if registry == DOCKER {
            DOCKER_HOST
        } else {
            registry
        };
        let parsed = |scheme: &str| Url::parse(&format!("{scheme}://{host}/")).ok();
        let Some(https) = parsed("https") else {
            return Vec::new();
        };
        let plain = parsed("http").filter(|url| self.allows_plain(url));
        std::iter::once(https).chain(plain).collect()
    }

    /// Whether this host may be asked without TLS.
    fn allows_plain(&self, url: &Url) -> bool {
        is_loopback(url) || self.is_insecure(url)
    }

    fn is_insecure(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        let with_port = url
            .port_or_known_default()
            .map(|port| format!("{host}:{port}"));
        self.insecure.iter().any(|allowed| {
            let allowed = allowed.as_str();
            Some(allowed) == with_port.as_deref() || (url.port().is_none() && allowed == host)
        })
    }

    /// How far the host of an address is trusted.
    pub(crate) fn trust(&self, url: &Url) -> Trust {
        if self.is_insecure(url) {
            Trust::Unchecked
        } else if is_loopback(url) {
            Trust::Loopback
        } else {
            Trust::Checked
        }
    }

    /// Where a redirect from `from` leads, or what is wrong with it.
    pub(crate) fn redirect(&self, from: &Url, location: &str) -> Result<Url, String> {
        let to = from
            .join(location)
            .map_err(|_| "an address that cannot be read".to_owned())?;
        let shown = shown(&to);
        if !to.username().is_empty() || to.password().is_some() {
            return Err(format!("{shown}, with a password in the address"));
        }
        match to.scheme() {
            "https" => Ok(to),
            "http" if from.scheme() == "http" && self.allows_plain(&to) => Ok(to),
            "http" => Err(format!("{shown}, which is not encrypted")),
            _ => Err(format!("{shown}, which is not HTTPS")),
        }
    }
}

/// Whether `b` is the same server as `a`, so that it may see what `a` may see.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// An address for people: without query, fragment and user.
pub(crate) fn shown(url: &Url) -> String {
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or("nowhere");
    format!("{}://{host}{port}{}", url.scheme(), url.path())
        .escape_debug()
        .to_string()
}

/// The host of an address, with its port where it is not the usual one.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("nowhere");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn addresses(registry: &str, insecure: &[&str]) -> Vec<String> {
        Policy::new(insecure.iter().map(|host| host.parse().unwrap()).collect())
            .addresses(registry)
            .iter()
            .map(Url::to_string)
            .collect()
    }

    #[test]
    fn plain_http_is_for_this_host_and_for_who_was_named() {
        assert_eq!(
            addresses("docker.io", &[]),
            ["https://registry-1.docker.io/"]
        );
        assert_eq!(addresses("ghcr.io", &["other.io"]), ["https://ghcr.io/"]);
        assert_eq!(
            addresses("127.0.0.1:5000", &[]),
            ["https://127.0.0.1:5000/", "http://127.0.0.1:5000/"]
        );
        assert_eq!(
            addresses("r.example:5000", &["r.example:5000"]),
            ["https://r.example:5000/", "http://r.example:5000/"]
        );
        assert_eq!(
            addresses("r.example:5000", &["r.example"]),
            ["https://r.example:5000/"]
        );
        assert_eq!(
            addresses("localhost.example", &[]),
            ["https://localhost.example/"]
        );
    }

    #[test]
    fn a_redirect_never_leaves_encryption_behind() {
        let policy = Policy::new(vec!["r.example:80".parse().unwrap()]);
        let from = url("https://ghcr.io/v2/a/blobs/x");
        assert_eq!(
            policy.redirect(&from, "/other?x=1").unwrap().as_str(),
            "https://ghcr.io/other?x=1"
        );
        assert!(policy.redirect(&from, "https://cdn.example/x").is_ok());
        for refused in [
            "http://cdn.example/x?secret",
            "http://127.0.0.1/x",
            "file:///etc/passwd",
            "https://me:pw@cdn.example/x",
        ] {
            let why = policy.redirect(&from, refused).unwrap_err();
            assert!(!why.contains("secret") && !why.contains("pw@"), "{why}");
        }
        let local = url("http://127.0.0.1:5000/v2/");
        assert!(policy.redirect(&local, "http://localhost:5001/x").is_ok());
        assert!(policy.redirect(&local, "http://r.example/x").is_ok());
        assert!(policy.redirect(&local, "http://169.254.169.254/x").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let registry = url("https://r.example/");
        assert!(same_origin(&registry, &url("https://r.example:443/x")));
        for other in [
            "http://r.example/",
            "https://r.example:8443/",
            "https://cdn.r.example/",
        ] {
            assert!(!same_origin(&registry, &url(other)), "{other}");
        }
    }
}
