//! Three hosts of a case's own, in network namespaces, so that real traffic needs no network and disturbs
//! none.
//!
//! ```text
//!   `home`: where the product runs                    `world`: the internet
//!   203.0.113.2/24, 2001:db8:1::2/64 ───── veth ───── 203.0.113.1, 2001:db8:1::1, the default gateway,
//!   127.0.0.53 is its name server                     198.51.100.10, 2001:db8:2::10
//!        │
//!        └── 10.77.0.1/24 ──── veth ──── `office`: a private network next door, 10.77.0.2
//! ```

use crate::framework::world::World;
use anyhow::{Context as _, Result};
use microagent_test::cli::{Program, Running};
use microagent_test::home::Home;
use microagent_test::image::Tool;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TEST_HOST: &str = include_str!("../programs/test_host.py");
/// A host's services live as long as their case.
const SERVICE_LIMIT: Duration = Duration::from_mins(10);
/// What links look like that an end may leave behind.
const RESOLV_CONF: &str = "nameserver 127.0.0.53\n";

/// Who stands where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Home,
    World,
    Office,
}

impl Host {
    const ALL: [Self; 3] = [Self::Home, Self::World, Self::Office];

    fn word(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::World => "world",
            Self::Office => "office",
        }
    }
}

/// The hosts; gone when dropped.
pub(crate) struct NetHosts {
    /// Stands in the names of the namespaces, so that two runs of the suite do not meet.
    owner: u32,
    home: Home,
    services: Vec<Running>,
}

impl NetHosts {
    /// Makes them and starts their services.
    pub(crate) fn make() -> Result<Self> {
        let mut hosts = Self {
            owner: std::process::id(),
            home: Home::new()?,
            services: Vec::new(),
        };
        for host in Host::ALL {
            Tool::new("ip")
                .args(["netns", "add", &hosts.name(host)])
                .ok()?;
            hosts.ip(host, "link set lo up")?;
        }
        let resolver = hosts.resolver_folder();
        std::fs::create_dir_all(&resolver)?;
        std::fs::write(resolver.join("resolv.conf"), RESOLV_CONF)?;
        hosts.cable("outside", (Host::Home, "outside"), (Host::World, "inside"))?;
        hosts.cable("office", (Host::Home, "office"), (Host::Office, "home"))?;
        for (host, line) in [
            (Host::Home, "addr add 203.0.113.2/24 dev outside"),
            (Host::Home, "addr add 2001:db8:1::2/64 dev outside nodad"),
            (Host::Home, "addr add 10.77.0.1/24 dev office"),
            (Host::World, "addr add 203.0.113.1/24 dev inside"),
            (Host::World, "addr add 2001:db8:1::1/64 dev inside nodad"),
            (Host::World, "addr add 198.51.100.10/32 dev lo"),
            (Host::World, "addr add 2001:db8:2::10/128 dev lo nodad"),
            (Host::Office, "addr add 10.77.0.2/24 dev home"),
            (Host::Home, "link set outside up"),
            (Host::Home, "link set office up"),
            (Host::World, "link set inside up"),
            (Host::Office, "link set home up"),
            (Host::Home, "route add default via 203.0.113.1"),
            (Host::Home, "-6 route add default via 2001:db8:1::1"),
        ] {
            hosts.ip(host, line)?;
        }
        for host in Host::ALL {
            let mut words = vec!["python3", "-c", TEST_HOST, host.word()];
            if host == Host::Home {
                words.push("dns");
            }
            let service = hosts.program(host, &words).stdin_held_open();
            let service = service.limit(SERVICE_LIMIT).spawn()?;
            service.wait_for_stdout("ready")?;
            hosts.services.push(service);
        }
        Ok(hosts)
    }

    /// A program on one of the hosts.
    pub(crate) fn program(&self, host: Host, words: &[&str]) -> Program {
        on(&self.name(host), Program::at(ip_program()).of(&self.home)).args(words)
    }

    /// The namespace of the host that the product runs on.
    pub(crate) fn home_namespace(&self) -> String {
        self.name(Host::Home)
    }

    /// The services of a host, which say what they see.
    pub(crate) fn service(&self, host: Host) -> &Running {
        &self.services[host as usize]
    }

    /// Fails when anything of the product is left where it ran: a listener, a link, a process with a
    /// socket in one of the namespaces.
    pub(crate) fn nothing_left(&self, world: &World) -> Result<()> {
        let listeners = "ss -Hltnup | grep -v python3 || true";
        let links = "ls /sys/class/net | sort | tr '\\n' ' '";
        let script = format!("{listeners}; {links}");
        let found = self
            .program(Host::Home, &["sh", "-c", &script])
            .limit(world.limit(Duration::from_secs(10)))
            .run()?
            .expect_code(0)?
            .stdout_text();
        anyhow::ensure!(found.trim() == "lo office outside", "left behind: {found}");
        Ok(())
    }

    fn name(&self, host: Host) -> String {
        format!("microagent-{}-{}", self.owner, host.word())
    }

    fn resolver_folder(&self) -> PathBuf {
        Path::new("/etc/netns").join(self.name(Host::Home))
    }

    fn ip(&self, host: Host, line: &str) -> Result<()> {
        let name = self.name(host);
        Tool::new("ip")
            .args(["-n", &name])
            .args(line.split(' '))
            .ok()
    }

    fn cable(&self, name: &str, one: (Host, &str), other: (Host, &str)) -> Result<()> {
        let (one_host, other_host) = (self.name(one.0), self.name(other.0));
        let words = [
            "link",
            "add",
            one.1,
            "netns",
            &one_host,
            "type",
            "veth",
            "peer",
            "name",
            other.1,
            "netns",
            &other_host,
        ];
        let cable = Tool::new("ip").args(words).ok();
        cable.with_context(|| format!("the cable `{name}`"))
    }
}

impl Drop for NetHosts {
    fn drop(&mut self) {
        self.services.clear();
        for host in Host::ALL {
            // What a failed case has in it goes with its last process.
            let _ = Tool::new("ip")
                .args(["netns", "delete", &self.name(host)])
                .ok();
        }
        let _ = std::fs::remove_dir_all(self.resolver_folder());
    }
}

/// A line of `ip netns exec` to put in front of a program's words.
pub(crate) fn on(namespace: &str, ip: Program) -> Program {
    ip.args(["netns", "exec", namespace])
}

/// Where `ip` is: an empty environment has no search path.
pub(crate) fn ip_program() -> &'static str {
    ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("/sbin/ip")
}
